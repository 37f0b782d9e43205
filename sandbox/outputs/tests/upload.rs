//! 70, 72. Output on its way to the project's outputs: in chunks, in order, bounded, and never in
//! the command's way.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use sealfleet_domain::output::{CHUNK_BYTES, CHUNK_OBJECT_BYTES, Chunk, Piece, Stream, chunk_name};
use sealfleet_outputs::{MOST_BYTES, Store, StoreError, Upload};

/// What is stored, and what goes wrong.
#[derive(Default)]
struct Memory {
    objects: Mutex<Vec<(String, Vec<u8>)>>,
    fails: Mutex<Vec<StoreError>>,
    hangs: bool,
}

#[async_trait]
impl Store for Memory {
    async fn put(&self, name: &str, bytes: Vec<u8>) -> Result<(), StoreError> {
        if self.hangs {
            std::future::pending::<()>().await;
        }
        if let Some(error) = self.fails.lock().unwrap().pop() {
            return Err(error);
        }
        self.objects.lock().unwrap().push((name.to_owned(), bytes));
        Ok(())
    }
}

impl Memory {
    fn pieces(&self) -> Vec<Piece> {
        let objects = self.objects.lock().unwrap();
        let chunks = objects.iter().map(|(_, bytes)| {
            assert!(bytes.len() <= CHUNK_OBJECT_BYTES, "{}", bytes.len());
            serde_json::from_slice::<Chunk>(bytes).unwrap()
        });
        chunks.flat_map(|chunk| chunk.pieces).collect()
    }

    fn text(&self) -> String {
        self.pieces()
            .iter()
            .map(|piece| piece.text.as_str())
            .collect()
    }

    fn missing(&self) -> u64 {
        self.pieces().iter().map(|piece| piece.missing_bytes).sum()
    }

    fn names(&self) -> Vec<String> {
        let objects = self.objects.lock().unwrap();
        objects.iter().map(|(name, _)| name.clone()).collect()
    }
}

fn begun(memory: &Arc<Memory>, most: u64) -> Upload {
    Upload::begin(Arc::clone(memory) as Arc<dyn Store>, most)
}

/// Lets the upload work for this long, by the test's clock.
async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn what_is_written_is_stored_after_two_seconds_or_as_a_chunk_is_full() {
    let memory = Arc::new(Memory::default());
    let upload = begun(&memory, MOST_BYTES);
    upload.write(Stream::Stdout, b"one ");
    pass(Duration::from_millis(1900)).await;
    upload.write(Stream::Stderr, b"two ");
    assert_eq!(memory.names().len(), 0);
    pass(Duration::from_millis(200)).await;
    assert_eq!(memory.names(), [chunk_name(0)]);
    let piece = |stream, text: &str| Piece {
        stream,
        text: text.to_owned(),
        missing_bytes: 0,
    };
    assert_eq!(
        memory.pieces(),
        [piece(Stream::Stdout, "one "), piece(Stream::Stderr, "two ")]
    );
    // A full chunk does not wait.
    upload.write(Stream::Stdout, &vec![b'x'; CHUNK_BYTES]);
    pass(Duration::from_millis(1)).await;
    assert_eq!(memory.names(), [chunk_name(0), chunk_name(1)]);
    upload.finish().await;
    let text = memory.text();
    assert_eq!(text.len(), 8 + CHUNK_BYTES);
    assert_eq!((memory.missing(), upload.missing_bytes()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn no_letter_is_split_wherever_a_write_ends() {
    let text = "aä€😀 end\u{7}";
    for at in 0..=text.len() {
        let memory = Arc::new(Memory::default());
        let upload = begun(&memory, MOST_BYTES);
        let (before, after) = text.as_bytes().split_at(at);
        upload.write(Stream::Stdout, before);
        pass(Duration::from_secs(3)).await;
        upload.write(Stream::Stderr, b"|");
        upload.write(Stream::Stdout, after);
        upload.finish().await;
        let pieces = memory.pieces();
        let of = |stream| -> String {
            let pieces = pieces.iter().filter(|piece| piece.stream == stream);
            pieces.map(|piece| piece.text.as_str()).collect()
        };
        assert_eq!(
            (of(Stream::Stdout).as_str(), of(Stream::Stderr).as_str()),
            (text, "|")
        );
    }
    // Bytes that are no text are replaced, and those that never become a letter too.
    let memory = Arc::new(Memory::default());
    let upload = begun(&memory, MOST_BYTES);
    upload.write(Stream::Stdout, b"a\xff\xfeb\xe2\x82");
    upload.finish().await;
    assert_eq!(memory.text(), "a\u{fffd}\u{fffd}b\u{fffd}");
}

/// The beginning as it comes; the end when it is over; between them, how much is missing. And no
/// more in memory than that: what fell out is gone.
#[tokio::test(start_paused = true)]
async fn of_a_long_output_beginning_and_end_are_stored_and_the_cut_is_marked() {
    let memory = Arc::new(Memory::default());
    let upload = begun(&memory, 1000);
    let whole: String = (0..10_000).map(|number| format!("{number:05}\n")).collect();
    for line in whole.as_bytes().chunks(77) {
        upload.write(Stream::Stdout, line);
    }
    pass(Duration::from_secs(3)).await;
    assert_eq!(memory.text(), whole[..500]);
    upload.finish().await;
    let text = memory.text();
    let (head, tail) = text.split_at(500);
    assert_eq!(head, &whole[..500]);
    assert_eq!(tail, &whole[whole.len() - 500..]);
    let missing = (whole.len() - 1000) as u64;
    assert_eq!(
        (memory.missing(), upload.missing_bytes()),
        (missing, missing)
    );

    // No room at all for an end, and none for anything.
    for (most, kept) in [(1, 1), (0, 0)] {
        let memory = Arc::new(Memory::default());
        let upload = begun(&memory, most);
        upload.write(Stream::Stdout, b"abc");
        upload.finish().await;
        assert_eq!(memory.text().len(), kept);
        assert_eq!(
            (memory.missing(), upload.missing_bytes()),
            (3 - kept as u64, 3 - kept as u64)
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_gigabyte_is_as_bounded_as_ten_megabytes() {
    let memory = Arc::new(Memory::default());
    let upload = begun(&memory, u64::MAX);
    let block = vec![b'x'; 1024 * 1024];
    for _ in 0..1024 {
        upload.write(Stream::Stdout, &block);
    }
    upload.finish().await;
    let stored = memory.text().len() as u64;
    assert_eq!(stored, MOST_BYTES);
    assert_eq!(upload.missing_bytes(), (1 << 30) - MOST_BYTES);
    assert!(memory.names().len() <= 40, "{}", memory.names().len());
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_stored_is_counted_and_marked_where_it_is_missing() {
    let memory = Arc::new(Memory::default());
    memory
        .fails
        .lock()
        .unwrap()
        .push(StoreError::Passing("no answer".to_owned()));
    let upload = begun(&memory, MOST_BYTES);
    upload.write(Stream::Stdout, b"lost!");
    pass(Duration::from_secs(3)).await;
    upload.write(Stream::Stdout, b"kept");
    upload.finish().await;
    assert_eq!(memory.names(), [chunk_name(1)]);
    assert_eq!((memory.text().as_str(), memory.missing()), ("kept", 5));
    assert_eq!(upload.missing_bytes(), 5);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_hangs_holds_up_neither_the_output_nor_the_end() {
    let memory = Arc::new(Memory {
        hangs: true,
        ..Memory::default()
    });
    let upload = begun(&memory, MOST_BYTES);
    let began = tokio::time::Instant::now();
    for _ in 0..100 {
        upload.write(Stream::Stdout, &[b'x'; 1024]);
        tokio::task::yield_now().await;
    }
    assert_eq!(began.elapsed(), Duration::ZERO, "writing waits for nothing");
    upload.finish().await;
    assert_eq!(
        began.elapsed(),
        Duration::from_secs(5),
        "by the paused clock"
    );
    assert_eq!(upload.missing_bytes(), 100 * 1024);
    // Nothing is stored after the end.
    upload.write(Stream::Stdout, b"late");
    assert_eq!(upload.missing_bytes(), 100 * 1024);
}

#[tokio::test(start_paused = true)]
async fn a_refused_store_is_asked_once() {
    let memory = Arc::new(Memory::default());
    memory
        .fails
        .lock()
        .unwrap()
        .push(StoreError::Refused("the claim is over".to_owned()));
    let upload = begun(&memory, MOST_BYTES);
    for _ in 0..5 {
        upload.write(Stream::Stdout, b"x");
        pass(Duration::from_secs(3)).await;
    }
    upload.finish().await;
    assert_eq!((memory.names().len(), upload.missing_bytes()), (0, 5));
}

#[tokio::test(start_paused = true)]
async fn a_result_is_stored_although_it_fails_at_first() {
    let memory = Arc::new(Memory::default());
    let passing = || StoreError::Passing("no answer".to_owned());
    memory.fails.lock().unwrap().extend([passing(), passing()]);
    let upload = begun(&memory, MOST_BYTES);
    upload.keep("result.json", b"{}").await.unwrap();
    assert_eq!(memory.names(), ["result.json"]);
    let refused = StoreError::Refused("no".to_owned());
    memory.fails.lock().unwrap().push(refused.clone());
    assert_eq!(upload.keep("result.json", b"{}").await, Err(refused));
}
