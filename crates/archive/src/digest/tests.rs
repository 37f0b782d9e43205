//! Every touch of an archive is named, by kind and place.

use super::*;
use crate::digest::ALGORITHM;

const HOUR: i64 = 3_600_000;

/// A key for tests: it "signs" by hashing with its name.
fn sign(key: &str, statement: &[u8]) -> Signature {
    let signature = sha256_hex(&[key.as_bytes(), statement].concat());
    Signature {
        key: key.to_owned(),
        algorithm: ALGORITHM.to_owned(),
        signature,
    }
}

struct Archive {
    objects: BTreeMap<String, Vec<u8>>,
    digests: Vec<StoredDigest>,
}

fn line(hour: i64, number: u64) -> String {
    format!("{{\"time\":{},\"n\":{number}}}\n", hour * HOUR)
}

fn name(first: u64, last: u64) -> String {
    let span = Span::Stream {
        first: first.to_string(),
        last: last.to_string(),
    };
    ObjectName {
        project: "a".to_owned(),
        day: "1970-01-01".to_owned(),
        shard: 0,
        span,
    }
    .to_string()
}

impl Archive {
    /// Two objects of eight lines in each of four hours, and one hour without objects.
    fn new() -> Self {
        let mut archive = Self {
            objects: BTreeMap::new(),
            digests: Vec::new(),
        };
        let mut row = 1;
        for hour in 1..=5 {
            let mut listed = Vec::new();
            for _ in 0..if hour == 3 { 0 } else { 2 } {
                let lines: String = (row..row + 8).map(|number| line(hour, number)).collect();
                let (key, bytes) = (name(row, row + 7), objects::pack(lines.as_bytes()).unwrap());
                listed.push(DigestedObject::of(key.clone(), &bytes));
                archive.objects.insert(key, bytes);
                row += 8;
            }
            archive.digest(hour, listed);
        }
        archive
    }

    fn digest(&mut self, hour: i64, objects: Vec<DigestedObject>) {
        let previous = self
            .digests
            .last()
            .map(|stored| (Digest::read(&stored.bytes).unwrap().0, stored.bytes.clone()));
        let previous = previous
            .as_ref()
            .map(|(digest, bytes)| (digest, bytes.as_slice()));
        self.put(
            &Digest::after(previous, Timestamp::from_millis(hour * HOUR), objects),
            "ours",
        );
    }

    fn put(&mut self, digest: &Digest, key: &str) {
        let statement = digest.statement().unwrap();
        let signature = sign(key, &statement);
        let stored = StoredDigest {
            key: digest.key(),
            bytes: Digest::stored(statement, &signature).unwrap(),
        };
        self.digests.retain(|other| other.key != stored.key);
        self.digests.push(stored);
        self.digests.sort_by(|a, b| a.key.cmp(&b.key));
    }

    fn read(&self, number: usize) -> Digest {
        Digest::read(&self.digests[number - 1].bytes).unwrap().0
    }

    fn verified(&self) -> Verified {
        self.verified_at(5 * HOUR + HOUR / 2, None)
    }

    fn verified_at(&self, as_of: i64, expected: Option<&Expected>) -> Verified {
        let signed =
            |statement: &[u8], signature: &Signature| *signature == sign("ours", statement);
        Chain::of(
            &self.digests,
            signed,
            expected,
            Timestamp::from_millis(as_of),
        )
        .verify(&self.objects)
    }

    fn edit(&mut self, key: &str, edit: impl FnOnce(&mut Vec<String>)) {
        let content = String::from_utf8(objects::unpack(&self.objects[key]).unwrap()).unwrap();
        let mut lines: Vec<String> = content.lines().map(str::to_owned).collect();
        edit(&mut lines);
        let content: String = lines.into_iter().map(|line| line + "\n").collect();
        self.objects
            .insert(key.to_owned(), objects::pack(content.as_bytes()).unwrap());
    }
}

/// Kind, digest and line of each fault.
fn faults(verified: &Verified) -> Vec<(Kind, Option<u64>, Option<u64>)> {
    verified
        .faults
        .iter()
        .map(|fault| (fault.kind, fault.digest, fault.line))
        .collect()
}

#[test]
fn an_untouched_archive_verifies() {
    let verified = Archive::new().verified();
    assert_eq!(faults(&verified), []);
    assert_eq!(
        (
            verified.digests,
            verified.objects,
            verified.lines,
            verified.doubles
        ),
        (5, 8, 64, 0)
    );
    assert!(verified.newest.unwrap().starts_with("5:"));
}

#[test]
fn touched_lines_are_named() {
    let key = name(25, 32);
    let touched = |edit: fn(&mut Vec<String>)| {
        let mut archive = Archive::new();
        archive.edit(&key, edit);
        let verified = archive.verified();
        assert!(
            verified
                .faults
                .iter()
                .all(|fault| fault.object.as_ref() == Some(&key))
        );
        assert_eq!((verified.objects, verified.lines), (7, 56));
        faults(&verified)
    };
    assert_eq!(
        touched(|lines| lines[3].push(' ')),
        [(Kind::LineEdited, Some(2), Some(4))]
    );
    assert_eq!(
        touched(|lines| drop(lines.remove(3))),
        [(Kind::LineDeleted, Some(2), Some(4))]
    );
    assert_eq!(
        touched(|lines| lines.truncate(5)),
        [(Kind::TailDeleted, Some(2), Some(6))]
    );
    assert_eq!(
        touched(|lines| lines.swap(1, 6)),
        [(Kind::LinesReordered, Some(2), Some(2))]
    );
    assert_eq!(
        touched(|lines| lines.insert(2, "{}".to_owned())),
        [(Kind::LineInserted, Some(2), Some(3))]
    );
    assert_eq!(touched(Vec::clear), [(Kind::TailDeleted, Some(2), Some(1))]);
}

#[test]
fn touched_objects_are_named() {
    let (one, two) = (name(9, 16), name(25, 32));
    let touched = |edit: fn(&mut BTreeMap<String, Vec<u8>>, [&String; 2])| {
        let mut archive = Archive::new();
        edit(&mut archive.objects, [&one, &two]);
        archive.verified()
    };
    let gone = touched(|objects, [one, _]| drop(objects.remove(one)));
    assert_eq!(faults(&gone), [(Kind::ObjectMissing, Some(1), None)]);
    let swapped = touched(|objects, [one, two]| {
        let (a, b) = (objects[one].clone(), objects[two].clone());
        objects.insert(one.clone(), b);
        objects.insert(two.clone(), a);
    });
    assert_eq!(
        faults(&swapped),
        [
            (Kind::ObjectSwapped, Some(1), None),
            (Kind::ObjectSwapped, Some(2), None)
        ]
    );
    let cut = touched(|objects, [one, _]| objects.get_mut(one).unwrap().truncate(30));
    assert_eq!(faults(&cut), [(Kind::ObjectUnreadable, Some(1), None)]);
    let packed_anew = touched(|objects, [one, _]| objects.get_mut(one).unwrap().push(0));
    assert_eq!(faults(&packed_anew), [(Kind::ObjectEdited, Some(1), None)]);
}

#[test]
fn an_object_in_no_digest_is_new_or_inserted() {
    let with = |key: String, content: String| {
        let mut archive = Archive::new();
        archive
            .objects
            .insert(key, objects::pack(content.as_bytes()).unwrap());
        let verified = archive.verified();
        (faults(&verified), verified.not_digested_yet)
    };
    let inserted = vec![(Kind::ObjectInserted, None, None)];
    assert_eq!(with(name(65, 65), line(5, 65)), (vec![], 1));
    // Digests cover its place in the stream.
    assert_eq!(with(name(10, 11), line(5, 65)), (inserted.clone(), 0));
    // Digests cover its time.
    assert_eq!(with(name(65, 65), line(4, 65)), (inserted.clone(), 0));
    assert_eq!(
        with(
            "audit/project=a/date=1970-01-01/extra.jsonl.gz".to_owned(),
            line(5, 65)
        ),
        (inserted.clone(), 0)
    );
    assert_eq!(with(name(65, 65), String::new()), (inserted, 0));
}

#[test]
fn touched_digests_are_named() {
    // Edited, and signed by somebody else or not at all.
    for key in ["theirs", ""] {
        let mut archive = Archive::new();
        let mut digest = archive.read(2);
        digest.objects.pop();
        archive.put(&digest, key);
        let found = archive.verified();
        let chain = [
            (Kind::DigestEdited, Some(2), None),
            (Kind::SignatureWrong, Some(2), None),
        ];
        // No remaining digest lists its objects.
        assert_eq!(
            faults(&found),
            [&chain[..], &[(Kind::ObjectInserted, None, None)]].concat()
        );
    }
    // Edited and signed by our key: the next digest still contains the original's hash.
    let mut archive = Archive::new();
    let mut digest = archive.read(4);
    let object = digest.objects.pop().unwrap();
    archive.objects.remove(&object.key);
    archive.put(&digest, "ours");
    assert_eq!(
        faults(&archive.verified()),
        [(Kind::DigestEdited, Some(4), None)]
    );
    // The newest digest has no next one: only its signature protects it.
    let mut archive = Archive::new();
    let mut digest = archive.read(5);
    let object = digest.objects.pop().unwrap();
    archive.objects.remove(&object.key);
    archive.put(&digest, "theirs");
    assert_eq!(
        faults(&archive.verified()),
        [(Kind::SignatureWrong, Some(5), None)]
    );
    // Not a digest.
    let mut archive = Archive::new();
    archive.digests[2].bytes = b"{}".to_vec();
    assert_eq!(
        faults(&archive.verified()),
        [(Kind::DigestUnreadable, Some(3), None)]
    );
}

#[test]
fn digests_that_are_gone_are_named() {
    let mut archive = Archive::new();
    archive.digests.remove(2);
    assert_eq!(
        faults(&archive.verified()),
        [(Kind::DigestMissing, Some(3), None)]
    );
    let mut archive = Archive::new();
    archive.digests.drain(..2);
    let found = archive.verified();
    assert_eq!(faults(&found)[0], (Kind::DigestMissing, Some(1), None));
    assert_eq!(found.faults[0].count, Some(2));
    // The end is cut off, together with everything it lists.
    let cut = |left: usize| {
        let mut archive = Archive::new();
        let kept: HashSet<String> = (1..=left)
            .flat_map(|number| archive.read(number).objects)
            .map(|object| object.key)
            .collect();
        archive.digests.truncate(left);
        archive.objects.retain(|key, _| kept.contains(key));
        archive
    };
    assert_eq!(
        faults(&cut(4).verified()),
        [(Kind::DigestsCut, Some(5), None)]
    );
    // An hour without objects counts, too.
    assert_eq!(
        faults(&cut(2).verified_at(3 * HOUR + HOUR / 2, None)),
        [(Kind::DigestsCut, Some(3), None)]
    );
    assert_eq!(faults(&cut(0).verified()), [(Kind::NoDigests, None, None)]);
    // Not missing by time yet, but the reader kept its hash.
    let expected: Expected = Archive::new().verified().newest.unwrap().parse().unwrap();
    assert_eq!(
        faults(&cut(4).verified_at(4 * HOUR, Some(&expected))),
        [(Kind::DigestsCut, Some(5), None)]
    );
    assert_eq!(
        faults(&Archive::new().verified_at(5 * HOUR, Some(&expected))),
        []
    );
    // A chain that somebody with the key created anew.
    let mut anew = Archive::new();
    let mut digest = anew.read(5);
    digest.to = digest.to.plus_seconds(1);
    anew.put(&digest, "ours");
    assert_eq!(
        faults(&anew.verified_at(5 * HOUR, Some(&expected))),
        [(Kind::NotTheExpectedDigest, Some(5), None)]
    );
}

#[test]
fn digests_out_of_place_are_named() {
    // Swapped.
    let mut archive = Archive::new();
    let (a, b) = (
        archive.digests[1].bytes.clone(),
        archive.digests[3].bytes.clone(),
    );
    (archive.digests[1].bytes, archive.digests[3].bytes) = (b, a);
    let swapped = [
        (Kind::DigestOutOfPlace, Some(2), None),
        (Kind::DigestOutOfPlace, Some(4), None),
    ];
    assert_eq!(faults(&archive.verified()), swapped);
    // One digest copied over another.
    let mut archive = Archive::new();
    archive.digests[2].bytes = archive.digests[1].bytes.clone();
    let copied = [
        (Kind::DigestMissing, Some(3), None),
        (Kind::DigestOutOfPlace, Some(3), None),
    ];
    assert_eq!(faults(&archive.verified()), copied);
    // A second digest with the same number under another key.
    let mut archive = Archive::new();
    let mut digest = archive.read(3);
    digest.from = Timestamp::from_millis(100 * HOUR);
    archive.put(&digest, "ours");
    assert_eq!(
        faults(&archive.verified()),
        [(Kind::ChainForked, Some(3), None)]
    );
}

#[test]
fn lines_that_are_there_twice_are_counted() {
    let mut archive = Archive::new();
    let again = objects::pack((line(5, 63) + &line(5, 64) + &line(5, 65)).as_bytes()).unwrap();
    let key = name(63, 65);
    archive.digest(6, vec![DigestedObject::of(key.clone(), &again)]);
    archive.objects.insert(key, again);
    let verified = archive.verified_at(6 * HOUR, None);
    assert_eq!(
        (faults(&verified), verified.lines, verified.doubles),
        (vec![], 67, 2)
    );
}
