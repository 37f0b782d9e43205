//! What came out of a step: its output, read from stored chunks while it runs and afterwards, and
//! its result.
//!
//! Whoever may read the run reads them, by a session for this one claim. The step is read before
//! its chunks are listed. A worker stores all chunks before it reports the end, so a list that
//! follows an end is complete.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sealfleet_api::cursor;
use sealfleet_api::http::{Answer, Request};
use sealfleet_api::types::{OutputPage, ResultView};
use sealfleet_api::{Code, Problem};
use sealfleet_aws::queue_access::NoKey;
use sealfleet_domain::output::{
    CHUNK_BYTES, CHUNK_OBJECT_BYTES, Chunk, Outputs, Piece, RESULT, Stream, chunk_name,
    chunk_number,
};
use sealfleet_domain::run::{Fence, Step};
use sealfleet_domain::{RunId, StepId, limits};

use super::Ports;
use crate::shared::auth::ProjectCaller;
use crate::shared::fault::{Answered, Fault};
use crate::shared::views;

/// Chunks of one answer. As JSON they stay below what a function may answer with.
const CHUNKS: usize = 4;
const _: () = assert!(CHUNKS * CHUNK_BYTES <= 1024 * 1024);
/// Bytes of chunks in one answer, after which no other chunk is added.
const BYTES: usize = 1024 * 1024;

/// How far somebody has read: up to a chunk of a claim, or to none of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Read {
    fence: Fence,
    chunk: Option<u32>,
}

impl Read {
    fn text(self) -> String {
        match self.chunk {
            None => self.fence.to_string(),
            Some(chunk) => format!("{}:{chunk}", self.fence),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (fence, chunk) = match text.split_once(':') {
            Some((fence, chunk)) => (fence, Some(chunk.parse().ok()?)),
            None => (text, None),
        };
        Some(Self {
            fence: Fence::new(fence.parse().ok()?),
            chunk,
        })
    }
}

pub async fn output(
    ports: &Ports,
    caller: ProjectCaller,
    request: &Request,
    (run_id, step_id): (RunId, StepId),
) -> Answered {
    let only = request
        .query
        .get("stream")
        .map(|text| stream_of(text))
        .transpose()?;
    let scope = caller.scope.project().as_str();
    let list = format!(
        "output:{run_id}:{step_id}:{}",
        only.map_or("", Stream::name)
    );
    let after = request.query.get("cursor");
    let after = after
        .map(|text| cursor::read(scope, &list, text))
        .transpose()?;
    let run = ports.ledger.run(&caller.scope, run_id).await?;
    let step = run.step(&step_id)?;
    let goes_on = !step.state.is_terminal();
    let mut read = match after {
        None => Read {
            fence: step.fence,
            chunk: None,
        },
        Some(text) => Read::parse(&text)
            .filter(|read| read.fence <= step.fence)
            .ok_or_else(|| Problem::invalid("cursor", "leave the cursor out to start anew"))?,
    };
    let of = |fence| Outputs::of(&caller.scope, run_id, &step_id, fence);
    let mut names = names(ports, &of(read.fence), read.chunk).await?;
    if names.is_empty() && read.fence < step.fence {
        // The claim that was read is over, and another one has begun.
        read = Read {
            fence: step.fence,
            chunk: None,
        };
        names = self::names(ports, &of(read.fence), None).await?;
    }
    let place = &of(read.fence);
    let chunks = stream::iter(names.iter().take(CHUNKS))
        .map(|name| async move {
            let bytes = ports
                .outputs
                .get(place, name, CHUNK_OBJECT_BYTES)
                .await
                .map_err(faulty)?;
            Ok::<_, Fault>((name, bytes.unwrap_or_default()))
        })
        .buffered(CHUNKS);
    let chunks: Vec<_> = chunks.try_collect().await?;
    let (mut items, mut bytes, mut shown) = (Vec::new(), 0, 0);
    for (name, chunk) in chunks {
        if bytes > BYTES {
            break;
        }
        bytes += chunk.len();
        items.extend(pieces(&chunk, only));
        read.chunk = chunk_number(name).or(read.chunk);
        shown += 1;
    }
    let is_all = !goes_on && shown == names.len() && read.fence == step.fence;
    Answer::json(
        200,
        &OutputPage {
            fence: read.fence,
            items,
            next_cursor: (!is_all).then(|| cursor::write(scope, &list, &read.text())),
            goes_on,
            place: views::output(step),
        },
    )
}

/// The names of a claim's chunks after this one.
async fn names(ports: &Ports, of: &Outputs, after: Option<u32>) -> Result<Vec<String>, Fault> {
    let after = after.map(chunk_name);
    let names = ports.outputs.list(of, "output/", after.as_deref()).await;
    let mut names = names.map_err(faulty)?;
    names.retain(|name| chunk_number(name).is_some());
    Ok(names)
}

/// What a chunk says of these streams. A worker has written it: what cannot be read counts as
/// missing.
fn pieces(chunk: &[u8], only: Option<Stream>) -> Vec<Piece> {
    let unreadable = Piece {
        stream: only.unwrap_or(Stream::Stdout),
        text: String::new(),
        missing_bytes: chunk.len() as u64,
    };
    let Ok(chunk) = serde_json::from_slice::<Chunk>(chunk) else {
        return vec![unreadable];
    };
    let mut pieces = chunk.pieces;
    if let Some(only) = only {
        for piece in &mut pieces {
            if piece.stream != only {
                piece.stream = only;
                piece.text.clear();
            }
        }
        pieces.retain(|piece| !piece.text.is_empty() || piece.missing_bytes > 0);
    }
    pieces
}

fn stream_of(text: &str) -> Result<Stream, Problem> {
    [Stream::Stdout, Stream::Stderr]
        .into_iter()
        .find(|stream| stream.name() == text)
        .ok_or_else(|| Problem::invalid("stream", "use `stdout` or `stderr`"))
}

pub async fn result(
    ports: &Ports,
    caller: ProjectCaller,
    (run_id, step_id): (RunId, StepId),
) -> Answered {
    let run = ports.ledger.run(&caller.scope, run_id).await?;
    let step = run.step(&step_id)?;
    let Some(bytes) = step.result_bytes else {
        return Err(without_result(step).into());
    };
    let mut view = ResultView {
        fence: step.fence,
        bytes,
        result: None,
        place: views::output(step),
    };
    if step.puts_out() {
        let of = Outputs::of(&caller.scope, run_id, &step_id, step.fence);
        let most = limits::RESULT_BYTES;
        let found = ports.outputs.get(&of, RESULT, most).await.map_err(faulty)?;
        let found = found.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let gone = || {
            let detail = "the result is no longer there: it is kept for OutputRetentionDays";
            Problem::new(Code::NotFound, detail)
        };
        view.result = Some(found.ok_or_else(gone)?);
    }
    Answer::json(200, &view)
}

fn without_result(step: &Step) -> Problem {
    if step.state.is_terminal() {
        let detail =
            "the step has left no result; it would be in /workspace/.sealfleet/result.json";
        Problem::new(Code::NotFound, detail)
    } else {
        Problem::new(Code::NotReady, "the step has not ended; ask again then")
    }
}

fn faulty(error: NoKey) -> Fault {
    Fault::of_key(error, "the outputs' store")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_as_it_was_written() {
        for chunk in [None, Some(0), Some(12)] {
            let read = Read {
                fence: Fence::new(3),
                chunk,
            };
            assert_eq!(Read::parse(&read.text()), Some(read));
        }
        assert_eq!(Read::parse("x"), None);
        assert_eq!(Read::parse("1:x"), None);
    }

    #[test]
    fn one_stream_alone_still_says_what_is_missing() {
        let piece = |stream, text: &str, missing_bytes| Piece {
            stream,
            text: text.to_owned(),
            missing_bytes,
        };
        let chunk = Chunk {
            pieces: vec![
                piece(Stream::Stdout, "a", 0),
                piece(Stream::Stderr, "b", 7),
                piece(Stream::Stderr, "c", 0),
            ],
        };
        let bytes = serde_json::to_vec(&chunk).unwrap();
        assert_eq!(pieces(&bytes, None), chunk.pieces);
        assert_eq!(
            pieces(&bytes, Some(Stream::Stdout)),
            [piece(Stream::Stdout, "a", 0), piece(Stream::Stdout, "", 7)]
        );
        assert_eq!(pieces(b"{", None), [piece(Stream::Stdout, "", 1)]);
    }
}
