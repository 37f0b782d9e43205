//! Lines out of a stream of bytes, within bounds.

/// The longest line that is kept, in bytes.
const LONGEST: usize = 1024 * 1024;

/// What of a stream is not yet a whole line.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    begun: Vec<u8>,
    /// The line is too long: the rest of it is passed over.
    skipping: bool,
}

impl Lines {
    /// Takes `bytes` and calls `line` with each line that they complete.
    pub fn feed(&mut self, bytes: &[u8], mut line: impl FnMut(&[u8])) {
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&byte| byte == b'\n') {
            let (head, tail) = rest.split_at(end);
            rest = tail.get(1..).unwrap_or_default();
            self.add(head);
            if !std::mem::take(&mut self.skipping) {
                line(&self.begun);
            }
            self.begun.clear();
        }
        self.add(rest);
    }

    /// The last line, if it has no end.
    pub fn finish(&mut self, mut line: impl FnMut(&[u8])) {
        if !self.skipping && !self.begun.is_empty() {
            line(&self.begun);
        }
        self.begun = Vec::new();
    }

    fn add(&mut self, bytes: &[u8]) {
        if self.skipping || self.begun.len() + bytes.len() > LONGEST {
            self.skipping = true;
            self.begun = Vec::new();
        } else {
            self.begun.extend_from_slice(bytes);
        }
    }
}
