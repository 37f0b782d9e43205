//! What a step works with, on its way into the workspace.
//!
//! Text that stands in the run comes with the step. What is larger comes before it, as open files:
//! each is copied into the workspace, and so belongs to the sandbox. No descriptor of the host's
//! files is left when the command starts.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use sealfleet_channel::{Descriptors, input_name};
use sealfleet_domain::inputs::{Content, InputPlace, Inputs, WorkspacePath};
use sealfleet_workspace::{standard_input, write_file, write_files};

/// The workspace of a step that has not begun.
pub(crate) struct Workspace {
    path: PathBuf,
    arrived: BTreeSet<WorkspacePath>,
    stdin: Option<OwnedFd>,
}

impl Workspace {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            arrived: BTreeSet::new(),
            stdin: None,
        }
    }

    /// Takes what came with one message.
    pub(crate) fn take_all(
        &mut self,
        places: &[InputPlace],
        mut descriptors: Descriptors,
    ) -> Result<(), String> {
        for (at, place) in places.iter().enumerate() {
            let descriptor = descriptors.remove(&input_name(at));
            let descriptor = descriptor.ok_or_else(|| format!("{place} has not come"))?;
            self.take(place, &mut File::from(descriptor))?;
        }
        Ok(())
    }

    /// Puts content in its place.
    pub(crate) fn take(
        &mut self,
        place: &InputPlace,
        content: &mut impl Read,
    ) -> Result<(), String> {
        if let Some(path) = place.path() {
            write_file(&self.path, &path, content)?;
        }
        match place {
            InputPlace::File { path } => {
                self.arrived.insert(path.clone());
            }
            InputPlace::Stdin => self.stdin = Some(standard_input(content).map_err(not_kept)?),
            InputPlace::Result { .. } | InputPlace::Artifact { .. } => {}
        }
        Ok(())
    }

    /// Writes what stands in the step itself. Answers its standard input. All that was uploaded
    /// must have come.
    pub(crate) fn complete(mut self, inputs: &Inputs) -> Result<Option<OwnedFd>, String> {
        write_files(&self.path, &inputs.files)?;
        let mut uploads = inputs.uploads().map(|(place, _)| place);
        let missing = uploads.find(|place| match place {
            InputPlace::File { path } => !self.arrived.contains(path),
            _ => self.stdin.is_none(),
        });
        if let Some(place) = missing {
            return Err(format!("{place} was uploaded, and has not come"));
        }
        match inputs.stdin.as_ref().and_then(Content::inline) {
            Some(mut text) => standard_input(&mut text).map(Some).map_err(not_kept),
            None => Ok(self.stdin.take()),
        }
    }
}

fn not_kept(error: std::io::Error) -> String {
    format!("the step's standard input cannot be kept: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn inputs(json: &str) -> Inputs {
        serde_json::from_str(json).expect("inputs")
    }

    #[test]
    fn what_was_uploaded_must_have_come() {
        let place = tempfile::tempdir().expect("a directory");
        let upload = r#"{"upload": "upl_0198c0de-0000-7000-8000-00000000000a"}"#;
        let file = format!(r#"{{"files": {{"a/b": {upload}}}}}"#);
        let stdin = format!(r#"{{"stdin": {upload}}}"#);
        for (json, what) in [(&file, "the step's file `a/b`"), (&stdin, "standard input")] {
            let error = Workspace::new(place.path()).complete(&inputs(json));
            assert!(error.expect_err("absent").contains(what), "{json}");
        }
        let mut workspace = Workspace::new(place.path());
        let path = "a/b".parse().expect("a path");
        let file_place = InputPlace::File { path };
        workspace
            .take(&file_place, &mut &b"one"[..])
            .expect("taken");
        workspace
            .take(&InputPlace::Stdin, &mut &b"two"[..])
            .expect("taken");
        let both = format!(r#"{{"files": {{"a/b": {upload}}}, "stdin": {upload}}}"#);
        let stdin = workspace.complete(&inputs(&both)).expect("complete");
        let mut read = String::new();
        File::from(stdin.expect("a file"))
            .read_to_string(&mut read)
            .expect("read");
        let written = std::fs::read_to_string(place.path().join("a/b")).expect("read");
        assert_eq!((written.as_str(), read.as_str()), ("one", "two"));
    }

    #[test]
    fn what_steps_have_left_lies_apart() {
        let place = tempfile::tempdir().expect("a directory");
        let mut workspace = Workspace::new(place.path());
        let step_id: sealfleet_domain::StepId = "build".parse().expect("an id");
        let result = InputPlace::Result {
            step_id: step_id.clone(),
        };
        workspace.take(&result, &mut &b"{}"[..]).expect("taken");
        let name = "out/a.txt".parse().expect("a name");
        let artifact = InputPlace::Artifact { step_id, name };
        workspace.take(&artifact, &mut &b"a"[..]).expect("taken");
        let needs = place.path().join(".sealfleet/needs/build");
        let read = |path: &str| std::fs::read_to_string(needs.join(path)).expect("read");
        assert_eq!(
            (read("result.json"), read("artifacts/out/a.txt")),
            ("{}".to_owned(), "a".to_owned())
        );
    }

    #[test]
    fn each_place_has_its_descriptor() {
        let place = tempfile::tempdir().expect("a directory");
        let error = Workspace::new(place.path()).take_all(&[InputPlace::Stdin], Descriptors::new());
        assert_eq!(
            error,
            Err("the step's standard input has not come".to_owned())
        );
    }
}
