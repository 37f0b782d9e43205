# Short names for the scripts. `just` is optional: each recipe is one command that you can run yourself.

# List the recipes
default:
    @just --list

# Show the whole product on this machine
demo *arguments:
    scripts/demo {{arguments}}

# Run all tests, or the scenarios whose names contain the words: `just test s14`
test *words:
    scripts/test {{words}}

# Run all tests but templates and scenarios
quick:
    scripts/test --quick

# Lint with warnings as errors
lint:
    cargo clippy --workspace --all-targets --locked -- -D warnings

# Format the code
fmt:
    cargo fmt --all

# Measure the release build
bench *arguments:
    scripts/bench {{arguments}}

# Put load on the control plane, and count what must not happen
load *arguments:
    scripts/load {{arguments}}

# Regenerate the generated parts of the documents, and check all links
docs:
    scripts/write-docs
    scripts/check-docs
