//! What is searched for changes while a stream is under way.

use sealfleet_redaction::{Redactor, Secret};

const FIRST: &[u8] = b"first-token-of-the-step-0123456789";
const SECOND: &[u8] = b"second-token-of-the-step-0123456789";

fn with_secret() -> Redactor {
    let value = b"value-of-a-secret";
    Redactor::new(&[Secret { key: "KEY", value }]).unwrap()
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Wherever the stream is when the second token comes, no token is let through, old or new.
#[test]
fn a_stream_finds_what_came_later_wherever_it_is() {
    let whole = [
        b"a ".as_slice(),
        FIRST,
        b" b value-of-a-secret c ",
        SECOND,
        b" d",
    ]
    .concat();
    let begins = whole.len() - SECOND.len() - 2;
    for redactor in [with_secret(), Redactor::default()] {
        for at in 0..=begins {
            redactor.also("TOKEN", &[FIRST]).unwrap();
            let mut stream = redactor.clone().stream();
            let (before, after) = whole.split_at(at);
            let mut out = Vec::new();
            stream.push(before, &mut out);
            redactor.also("TOKEN", &[SECOND, FIRST]).unwrap();
            for byte in after {
                stream.push(&[*byte], &mut out);
            }
            let matches = stream.finish(&mut out);
            let shown = text(out).replace("<redacted:KEY>", "value-of-a-secret");
            let wanted = "a <redacted:TOKEN> b value-of-a-secret c <redacted:TOKEN> d";
            assert_eq!(shown, wanted, "{at}");
            let tokens = matches.iter().filter(|(key, ..)| *key == "TOKEN");
            assert_eq!(tokens.map(|(.., count)| count).sum::<u64>(), 2, "{at}");
        }
    }
}

/// A token that is forgotten while its beginning is held back is let through, and nothing is lost.
#[test]
fn what_is_searched_for_no_more_is_let_through() {
    let redactor = with_secret();
    redactor.also("TOKEN", &[FIRST]).unwrap();
    let mut stream = redactor.stream();
    let mut out = Vec::new();
    let (before, after) = FIRST.split_at(10);
    stream.push(before, &mut out);
    assert!(out.is_empty() && stream.held_back() == before.len());
    redactor.also("TOKEN", &[SECOND]).unwrap();
    stream.push(after, &mut out);
    stream.finish(&mut out);
    assert_eq!(text(out), text(FIRST.to_vec()));
}

#[test]
fn whole_texts_are_searched_as_streams_are() {
    let redactor = Redactor::default();
    let clone = redactor.clone();
    assert_eq!(clone.needles(), 0);
    redactor.also("TOKEN", &[FIRST]).unwrap();
    assert!(clone.needles() > 0 && clone.finds(FIRST));
    assert!(redactor.also("TOKEN", &[b"short"]).is_err());
    assert!(clone.finds(FIRST));
}
