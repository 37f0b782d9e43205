#!/usr/bin/env python3
"""The two steps of a run that reach GitHub, with the tenant's own token.

    pull_request.py fetch                    leaves the repository as `repository.bundle`
    pull_request.py publish BUNDLE           pushes the branch `mend` of a bundle, opens a pull request, and
                                             leaves its number and page as the step's result

Between the two, an agent works on the bundle in a step that never sees the token: what it hands over is read as data, its hooks and
its configuration do not come along.

Reads REPOSITORY (owner/name), BASE (the branch to start from), BRANCH (the branch to push), TITLE, GITHUB_TOKEN, and for
GitHub Enterprise or a test GITHUB_URL and GITHUB_API_URL. The token is in no argument and in no file.
"""

import json
import os
import re
import subprocess
import sys
import urllib.error
import urllib.request

GITHUB_URL = os.environ.get("GITHUB_URL", "https://github.com").rstrip("/")
GITHUB_API_URL = os.environ.get("GITHUB_API_URL", "https://api.github.com").rstrip("/")
# git asks this for a user and a password. The shell reads the token from the environment.
CREDENTIALS = '!printf "username=x-access-token\\npassword=%s\\n" "$GITHUB_TOKEN" #'
BRANCH_OF_AGENT = "mend"


def need(name, form=r".+"):
    """A variable that the step sets."""
    value = os.environ.get(name, "")
    if not re.fullmatch(form, value):
        sys.exit(f"pull_request: set `{name}` in the step's `env`, in the form `{form}`")
    return value


def git(*words, inside=None):
    """Runs git without hooks and without any configuration but this one."""
    fixed = ["core.hooksPath=/dev/null", "fetch.fsckObjects=true", "credential.helper=", f"credential.helper={CREDENTIALS}"]
    options = [word for setting in fixed for word in ("-c", setting)]
    environment = {**os.environ, "GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}
    done = subprocess.run(["git", *options, *words], cwd=inside, env=environment, check=False)
    if done.returncode != 0:
        sys.exit(f"pull_request: `git {words[0]}` failed")


def clone():
    """The repository without its files, in `repository`."""
    url = f"{GITHUB_URL}/{need('REPOSITORY', r'[A-Za-z0-9._-]+/[A-Za-z0-9._-]+')}.git"
    git("clone", "--quiet", "--no-checkout", "--single-branch", "--branch", need("BASE", r"[\w./-]+"), "--", url, "repository")


def fetch():
    clone()
    git("bundle", "create", "--quiet", "../repository.bundle", need("BASE", r"[\w./-]+"), inside="repository")


def publish(bundle):
    branch = need("BRANCH", r"[\w./-]+")
    clone()
    git("fetch", "--quiet", os.path.abspath(bundle), f"refs/heads/{BRANCH_OF_AGENT}:refs/heads/{branch}", inside="repository")
    git("push", "--quiet", "origin", f"refs/heads/{branch}", inside="repository")
    result = json.dumps(opened(branch))
    print(result)
    os.makedirs(".sealfleet", exist_ok=True)
    with open(".sealfleet/result.json", "w", encoding="utf-8") as file:
        file.write(result)


def opened(branch):
    """Opens the pull request: its number and its page."""
    request = urllib.request.Request(
        f"{GITHUB_API_URL}/repos/{need('REPOSITORY')}/pulls",
        data=json.dumps({"title": need("TITLE"), "head": branch, "base": need("BASE")}).encode(),
        headers={
            "Accept": "application/vnd.github+json",
            "Authorization": f"Bearer {need('GITHUB_TOKEN')}",
            "Content-Type": "application/json",
            "User-Agent": "sealfleet",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            answer = json.load(response)
    except urllib.error.HTTPError as error:
        said = error.read(2000).decode("utf-8", "replace")
        sys.exit(f"pull_request: the branch is pushed, and GitHub opens no pull request: {error.code}: {said}")
    except urllib.error.URLError as error:
        sys.exit(f"pull_request: the branch is pushed, and GitHub's API is not reached: {error.reason}")
    return {"number": answer["number"], "url": answer["html_url"]}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["fetch"]:
            fetch()
        case ["publish", bundle]:
            publish(bundle)
        case _:
            sys.exit(__doc__)
