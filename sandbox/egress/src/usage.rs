//! Tokens, as models' APIs say them in their answers.
//!
//! Known are Anthropic's Messages, and OpenAI's Responses and Chat Completions, which many gateways
//! speak, too. An answer is read while it passes, whole or as a stream of events, and nothing of it
//! is kept but the few fields that are asked for: however long it is, reading it takes the same
//! memory.

use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use sealfleet_agent::tokens::{Tally, of_chat_completions, of_messages, of_responses};
use sealfleet_domain::limits;
use serde_json::{Map, Value};

use crate::target::Target;

/// Bytes of a field that is read.
const FIELD_BYTES: usize = 16 * 1024;
/// Bytes of a key that is looked at.
const KEY_BYTES: usize = 32;

/// How an API says what it has used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Api {
    Messages,
    Responses,
    ChatCompletions,
}

/// Hosts that have a name, and are known to answer in these ways at any path that ends so.
const PROVIDERS: [(&str, &str); 8] = [
    ("api.anthropic.com", "anthropic"),
    ("api.openai.com", "openai"),
    ("chatgpt.com", "openai"),
    ("openrouter.ai", "openrouter"),
    ("api.mistral.ai", "mistral"),
    ("api.groq.com", "groq"),
    ("api.deepseek.com", "deepseek"),
    ("api.x.ai", "xai"),
];

/// How the paths of the APIs end, and whether that is enough for a host that is not known.
const PATHS: [(&str, Api, bool); 5] = [
    ("/v1/messages", Api::Messages, true),
    ("/v1/responses", Api::Responses, true),
    ("/v1/chat/completions", Api::ChatCompletions, true),
    ("/responses", Api::Responses, false),
    ("/chat/completions", Api::ChatCompletions, false),
];

/// A call of a model whose answer is to be read.
#[derive(Debug)]
pub struct Call {
    api: Api,
    provider: String,
}

impl Call {
    pub fn of<B>(target: &Target, request: &Request<B>) -> Option<Self> {
        let host = target.host.to_string();
        let known = PROVIDERS.iter().find(|(name, _)| *name == host);
        let path = request.uri().path();
        let is_it = |(end, _, alone): &&(&str, Api, bool)| {
            path.ends_with(end) && (*alone || known.is_some())
        };
        let (_, api, _) = PATHS.iter().find(is_it)?;
        (request.method() == Method::POST).then(|| Self {
            api: *api,
            provider: known.map_or(host, |(_, provider)| (*provider).to_owned()),
        })
    }

    /// Asks for an answer that is not compressed. Nothing here could read another.
    pub fn ask_plainly(headers: &mut HeaderMap) {
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    }

    /// A reader of the answer, if it is one of a model.
    pub fn reader<B>(self, answer: &Response<B>) -> Option<Reader> {
        if answer.status() != StatusCode::OK {
            return None;
        }
        let headers = answer.headers();
        let encoding = headers.get(CONTENT_ENCODING);
        let is_plain = encoding.is_none_or(|coding| coding.as_bytes() == b"identity");
        let kind = headers
            .get(CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let kind = kind
            .unwrap_or_default()
            .split(';')
            .next()
            .unwrap_or_default();
        let form = match kind.trim().to_ascii_lowercase().as_str() {
            _ if !is_plain => Form::Unreadable,
            "text/event-stream" => Form::Events { line: Line::Start },
            "application/json" => Form::Document,
            _ => Form::Unreadable,
        };
        Some(Reader {
            call: self,
            form,
            fields: Fields::default(),
            model: None,
            usage: Map::new(),
        })
    }
}

/// What an answer has said.
#[derive(Debug)]
pub struct Told {
    pub provider: String,
    /// The model and its tokens, if it said them.
    pub used: Option<(String, Tally)>,
}

/// Reads an answer while it passes.
pub struct Reader {
    call: Call,
    form: Form,
    fields: Fields,
    model: Option<String>,
    /// Members of later events take the place of earlier ones: they are sums.
    usage: Map<String, Value>,
}

enum Form {
    Document,
    /// <https://html.spec.whatwg.org/multipage/server-sent-events.html>
    Events {
        line: Line,
    },
    Unreadable,
}

#[derive(Clone, Copy)]
enum Line {
    Start,
    /// So many letters of `data:` have been read.
    Name(usize),
    Data,
    Other,
}

const DATA: &[u8] = b"data:";

impl Reader {
    pub fn read(&mut self, bytes: &[u8]) {
        match self.form {
            Form::Document => bytes.iter().for_each(|byte| self.fields.read(*byte)),
            Form::Events { mut line } => {
                for byte in bytes {
                    line = self.read_line(line, *byte);
                }
                self.form = Form::Events { line };
            }
            Form::Unreadable => {}
        }
    }

    fn read_line(&mut self, line: Line, byte: u8) -> Line {
        if matches!(byte, b'\n' | b'\r') {
            if matches!(line, Line::Data) {
                self.take_fields();
            }
            return Line::Start;
        }
        let at = match line {
            Line::Start => 0,
            Line::Name(at) => at,
            Line::Data => {
                self.fields.read(byte);
                return Line::Data;
            }
            Line::Other => return Line::Other,
        };
        match DATA.get(at) {
            Some(expected) if *expected == byte && at + 1 == DATA.len() => Line::Data,
            Some(expected) if *expected == byte => Line::Name(at + 1),
            _ => Line::Other,
        }
    }

    fn take_fields(&mut self) {
        for (name, value) in std::mem::take(&mut self.fields).found {
            match (name, value) {
                (Field::Model, Value::String(model)) => self.model = Some(model),
                (Field::Usage, Value::Object(usage)) => {
                    let said = usage.into_iter().filter(|(_, value)| !value.is_null());
                    self.usage.extend(said);
                }
                _ => {}
            }
        }
    }

    /// What it said, once it has ended.
    pub fn end(mut self) -> Told {
        self.take_fields();
        let usage = Value::Object(self.usage);
        let tally = match self.call.api {
            Api::Messages => of_messages(&usage),
            Api::Responses => of_responses(&usage),
            Api::ChatCompletions => of_chat_completions(&usage),
        };
        let is_name = |model: &String| {
            let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-._:/@".contains(&byte);
            (1..=limits::MODEL_BYTES).contains(&model.len()) && model.bytes().all(is_letter)
        };
        let model = self.model.filter(is_name);
        Told {
            provider: self.call.provider,
            used: model
                .filter(|_| tally != Tally::default())
                .map(|model| (model, tally)),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    Usage,
}

/// Finds `model` and `usage` in a JSON document, at its top, or in `message` or `response` there.
/// It follows strings and brackets and judges nothing else: a document that is none finds nothing,
/// or something that is no value.
#[derive(Default)]
struct Fields {
    depth: usize,
    /// Whether the member at this depth of which the next depth is a part is one to look into.
    inside: bool,
    text: Text,
    /// The last string at a depth that is looked at: a key, if a colon follows.
    key: Vec<u8>,
    /// Whether the value of `key` comes next.
    after_colon: bool,
    taking: Option<(Field, usize, Vec<u8>)>,
    found: Vec<(Field, Value)>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Text {
    #[default]
    Outside,
    Inside,
    Escaped,
}

impl Fields {
    fn is_looked_at(&self) -> bool {
        self.depth == 1 || self.depth == 2 && self.inside
    }

    fn read(&mut self, byte: u8) {
        if self.text != Text::Outside {
            self.text = match (self.text, byte) {
                (Text::Escaped, _) => Text::Inside,
                (_, b'\\') => Text::Escaped,
                (_, b'"') => Text::Outside,
                _ => Text::Inside,
            };
            self.take(byte);
            if self.text != Text::Outside && self.is_looked_at() && self.key.len() <= KEY_BYTES {
                self.key.push(byte);
            }
            return;
        }
        // A value ends before what comes after it.
        if matches!(byte, b',' | b'}' | b']')
            && self
                .taking
                .as_ref()
                .is_some_and(|(_, depth, _)| *depth == self.depth)
        {
            self.finish();
        }
        if self.after_colon && !byte.is_ascii_whitespace() {
            self.after_colon = false;
            let field = match self.key.as_slice() {
                b"model" => Some(Field::Model),
                b"usage" => Some(Field::Usage),
                _ => None,
            };
            if let (Some(field), None) = (field, &self.taking) {
                self.taking = Some((field, self.depth, Vec::new()));
            }
            if self.depth == 1 {
                self.inside =
                    byte == b'{' && matches!(self.key.as_slice(), b"message" | b"response");
            }
        }
        self.take(byte);
        match byte {
            b'"' => {
                self.text = Text::Inside;
                if self.is_looked_at() {
                    self.key.clear();
                }
            }
            b':' => self.after_colon = self.is_looked_at(),
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => self.depth = self.depth.saturating_sub(1),
            _ => {}
        }
    }

    fn take(&mut self, byte: u8) {
        if let Some((_, _, taken)) = &mut self.taking
            && taken.len() <= FIELD_BYTES
        {
            taken.push(byte);
        }
    }

    fn finish(&mut self) {
        if let Some((field, _, taken)) = self.taking.take()
            && let Ok(value) = serde_json::from_slice(&taken)
        {
            self.found.retain(|(other, _)| *other != field);
            self.found.push((field, value));
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn call(host: &str, path: &str) -> Option<Call> {
        let target = Target {
            host: host.parse().unwrap(),
            port: 443,
        };
        Call::of(&target, &Request::post(path).body(()).unwrap())
    }

    fn told(path: &str, kind: &str, answer: &str, piece: usize) -> Option<(String, Tally)> {
        let response = Response::builder()
            .header(CONTENT_TYPE, kind)
            .body(())
            .unwrap();
        let mut reader = call("api.test", path).unwrap().reader(&response).unwrap();
        for piece in answer.as_bytes().chunks(piece) {
            reader.read(piece);
        }
        reader.end().used
    }

    fn tally(input: u64, cached: u64, output: u64, written: u64) -> Tally {
        let mut tally = Tally::default();
        tally.usage.input_tokens = input;
        tally.usage.cached_input_tokens = cached;
        tally.usage.output_tokens = output;
        tally.written = written;
        tally
    }

    #[test]
    fn calls_are_known_by_host_and_path() {
        let provider = |host, path| call(host, path).map(|call| call.provider);
        assert_eq!(
            provider("api.anthropic.com", "/v1/messages?beta=true").as_deref(),
            Some("anthropic")
        );
        assert_eq!(
            provider("chatgpt.com", "/backend-api/codex/responses").as_deref(),
            Some("openai")
        );
        assert_eq!(
            provider("gateway.test", "/proxy/v1/chat/completions").as_deref(),
            Some("gateway.test")
        );
        for (host, path) in [
            ("gateway.test", "/responses"),
            ("api.anthropic.com", "/v1/messages/count_tokens"),
            ("api.openai.com", "/v1/models"),
        ] {
            assert!(call(host, path).is_none(), "{host}{path}");
        }
    }

    const DOCUMENTS: [(&str, &str, Tokens); 3] = [
        (
            "/v1/messages",
            r#"{"id":"m","content":[{"type":"text","text":"\"usage\":{\"input_tokens\":9}, {[\\"}],"model":"claude-a","usage":{"input_tokens":3,"cache_read_input_tokens":5,"cache_creation_input_tokens":7,"cache_creation":{"x":1},"output_tokens":11}}"#,
            (15, 5, 11, 7),
        ),
        (
            "/v1/responses",
            r#"{"model" : "gpt-a", "output":[{"usage":{"input_tokens":99},"model":"other"}], "usage":
              {"input_tokens":10,"input_tokens_details":{"cached_tokens":4},"output_tokens":6}, "x":1}"#,
            (10, 4, 6, 0),
        ),
        (
            "/v1/chat/completions",
            r#"{"model":"gpt-a","choices":[],"usage":{"prompt_tokens":10,"completion_tokens":6,"prompt_tokens_details":{"cached_tokens":4}}}"#,
            (10, 4, 6, 0),
        ),
    ];

    type Tokens = (u64, u64, u64, u64);

    #[test]
    fn a_document_says_its_tokens_in_whatever_pieces_it_comes() {
        for (path, document, (input, cached, output, written)) in DOCUMENTS {
            for piece in [1, 2, 7, 4096] {
                let (model, tokens) = told(path, "application/json", document, piece).unwrap();
                assert!(model.ends_with("-a"), "{model}");
                assert_eq!(tokens, tally(input, cached, output, written), "{path}");
            }
        }
    }

    #[test]
    fn a_stream_says_them_at_its_beginning_and_its_end() {
        let messages = "event: message_start\n\
            data: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"claude-a\",\"content\":[],\"usage\":{\"input_tokens\":3,\"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\n\
            data: {\"type\":\"content_block_delta\",\"delta\":{\"text\":\"data: {\\\"usage\\\":1}\"}}\n\n\
            : ping\n\n\
            data: {\"type\":\"message_delta\",\"delta\":{},\"usage\":{\"output_tokens\":11,\"input_tokens\":null}}\r\n\r\n\
            data: {\"type\":\"message_stop\"}\n\n";
        let responses = "event: response.created\n\
            data: {\"type\":\"response.created\",\"response\":{\"model\":\"gpt-a\",\"usage\":null}}\n\n\
            data: {\"type\":\"response.completed\",\"response\":{\"output\":[{\"usage\":{\"input_tokens\":9}}],\"model\":\"gpt-a\",\"usage\":{\"input_tokens\":10,\"output_tokens\":6}}}\n\n";
        let chat = "data: {\"model\":\"gpt-a\",\"choices\":[{}],\"usage\":null}\n\n\
            data: {\"model\":\"gpt-a\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":6}}\n\n\
            data: [DONE]\n\n";
        for piece in [1, 3, 4096] {
            let read =
                |path, text| told(path, "text/event-stream; charset=utf-8", text, piece).unwrap();
            assert_eq!(read("/v1/messages", messages).1, tally(8, 5, 11, 0));
            assert_eq!(
                read("/v1/responses", responses),
                ("gpt-a".to_owned(), tally(10, 0, 6, 0))
            );
            assert_eq!(read("/v1/chat/completions", chat).1, tally(10, 0, 6, 0));
        }
    }

    #[test]
    fn what_says_nothing_counts_nothing() {
        let long = format!(
            r#"{{"model":"{}","usage":{{"input_tokens":1}}}}"#,
            "m".repeat(FIELD_BYTES)
        );
        for document in [
            "",
            "{}",
            "]]]}}}{",
            r#"{"model":"m"}"#,
            r#"{"usage":{"input_tokens":1}}"#,
            r#"{"model":"m\u001b[2J","usage":{"input_tokens":1}}"#,
            r#"{"error":{"model":"m","usage":{"input_tokens":1}}}"#,
            &long,
        ] {
            assert_eq!(
                told("/v1/responses", "application/json", document, 5),
                None,
                "{document}"
            );
        }
        let compressed = Response::builder()
            .header(CONTENT_TYPE, "application/json")
            .header(CONTENT_ENCODING, "gzip")
            .body(())
            .unwrap();
        let mut reader = call("api.test", "/v1/responses")
            .unwrap()
            .reader(&compressed)
            .unwrap();
        reader.read(DOCUMENTS[1].1.as_bytes());
        assert!(reader.end().used.is_none());
    }

    proptest! {
        #[test]
        fn whatever_comes_takes_little_memory(text in "[\\[\\]{}:,\"\\\\ a]{0,400}|(\"usage\":[{\\[]?|\"model\":|\\{|\\}|,|x){0,80}") {
            let mut fields = Fields::default();
            for byte in text.bytes().cycle().take(100_000.min(text.len() * 50)) {
                fields.read(byte);
            }
            prop_assert!(fields.key.len() <= KEY_BYTES + 1 && fields.found.len() <= 2);
            prop_assert!(fields.taking.is_none_or(|(_, _, taken)| taken.len() <= FIELD_BYTES + 1));
        }

        /// A field is found wherever it stands at the top, and what serde reads is what is found.
        #[test]
        fn fields_are_those_of_json(before in any::<i32>(), text in "\\PC{0,20}", input in any::<u32>()) {
            let document = serde_json::json!({
                "a": { "usage": before, "b": [text, { "model": text }] },
                "model": "m",
                "usage": { "input_tokens": input, "x": [text] },
                "z": text,
            });
            let mut fields = Fields::default();
            document.to_string().bytes().for_each(|byte| fields.read(byte));
            prop_assert_eq!(fields.found, vec![
                (Field::Model, document["model"].clone()), (Field::Usage, document["usage"].clone()),
            ]);
        }
    }
}
