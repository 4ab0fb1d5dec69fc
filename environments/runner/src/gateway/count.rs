//! What a model's answer says of its use, read while the answer passes by. Providers say it in different places; all say totals, so
//! the largest number of each kind counts. Nothing is held back and next to nothing is kept.

use serde_json::Value;

/// Longest line of a stream and longest whole answer that is read for its usage.
const MOST: usize = 8 << 20;

/// Tokens of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tokens {
    /// Read, cached ones included.
    pub input: i64,
    /// Written.
    pub output: i64,
}

/// Reads usage out of an answer that arrives in pieces.
#[derive(Default)]
pub struct Reader {
    stream: bool,
    kept: Vec<u8>,
    /// What came was longer than can be kept; in a stream the rest of that line, else everything.
    lost: bool,
    tokens: Tokens,
}

impl Reader {
    /// For an answer of this media type.
    pub fn new(content_type: &str) -> Self {
        Self { stream: content_type.starts_with("text/event-stream"), ..Self::default() }
    }

    /// Takes a piece into account.
    pub fn push(&mut self, piece: &[u8]) {
        if !self.stream {
            self.keep(piece);
            return;
        }
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            self.keep(&rest[..end]);
            self.line();
            rest = &rest[end + 1..];
        }
        self.keep(rest);
    }

    /// What was used, as far as was said.
    pub fn tokens(&mut self) -> Tokens {
        if self.stream {
            self.line();
        } else if !self.lost {
            let kept = std::mem::take(&mut self.kept);
            self.read(&kept);
        }
        self.tokens
    }

    fn keep(&mut self, piece: &[u8]) {
        if self.lost || self.kept.len() + piece.len() > MOST {
            self.lost = true;
            self.kept.clear();
        } else {
            self.kept.extend_from_slice(piece);
        }
    }

    fn line(&mut self) {
        let line = std::mem::take(&mut self.kept);
        if !std::mem::take(&mut self.lost)
            && let Some(data) = line.strip_prefix(b"data:")
            // Most lines are pieces of text; only few speak of usage.
            && data.windows(5).any(|word| word.eq_ignore_ascii_case(b"usage"))
        {
            self.read(data);
        }
    }

    fn read(&mut self, json: &[u8]) {
        let Ok(value) = serde_json::from_slice::<Value>(json) else { return };
        let places = [
            &value["usage"],
            &value["message"]["usage"],
            &value["response"]["usage"],
            &value["usageMetadata"],
        ];
        for usage in places.into_iter().filter(|usage| usage.is_object()) {
            let number =
                |names: &[&str]| names.iter().filter_map(|name| usage[name].as_i64()).sum::<i64>().max(0);
            let input = number(&[
                "input_tokens",
                "cache_creation_input_tokens",
                "cache_read_input_tokens",
                "prompt_tokens",
                "promptTokenCount",
            ]);
            let output =
                number(&["output_tokens", "completion_tokens", "candidatesTokenCount", "thoughtsTokenCount"]);
            self.tokens.input = self.tokens.input.max(input);
            self.tokens.output = self.tokens.output.max(output);
        }
    }
}

/// The price of these tokens in millionths of a dollar, rounded up; prices are for a million tokens.
pub fn cost(tokens: Tokens, price: Option<(i64, i64)>) -> i64 {
    let Some((input, output)) = price else { return 0 };
    let sum = i128::from(tokens.input) * i128::from(input) + i128::from(tokens.output) * i128::from(output);
    i64::try_from((sum + 999_999) / 1_000_000).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The same result however the answer is cut.
    fn read(content_type: &str, answer: &str) -> Tokens {
        let mut results = (1..=answer.len().min(40)).map(|size| {
            let mut reader = Reader::new(content_type);
            answer.as_bytes().chunks(size).for_each(|piece| reader.push(piece));
            reader.tokens()
        });
        let first = results.next().unwrap();
        assert!(results.all(|tokens| tokens == first));
        first
    }

    #[test]
    fn usage_is_found_in_the_streams_of_every_provider() {
        let anthropic = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"usage\":{\"input_tokens\":10,\
            \"cache_read_input_tokens\":5,\"output_tokens\":1}}}\n\nevent: message_delta\ndata: {\"type\":\"message_delta\",\
            \"usage\":{\"output_tokens\":42}}\n\n";
        let responses = "data: {\"type\":\"response.output_text.delta\",\"delta\":\"usage\"}\r\n\r\ndata: {\"type\":\
            \"response.completed\",\"response\":{\"usage\":{\"input_tokens\":15,\"output_tokens\":42}}}\r\n\r\n";
        let chat = "data: {\"choices\":[{\"delta\":{\"content\":\"x\"}}],\"usage\":null}\n\ndata: {\"choices\":[],\"usage\":\
            {\"prompt_tokens\":15,\"completion_tokens\":42}}\n\ndata: [DONE]";
        let gemini = "data: {\"candidates\":[],\"usageMetadata\":{\"promptTokenCount\":15,\"candidatesTokenCount\":2}}\r\n\r\n\
            data: {\"usageMetadata\":{\"promptTokenCount\":15,\"candidatesTokenCount\":12,\"thoughtsTokenCount\":30}}\r\n\r\n";
        for stream in [anthropic, responses, chat, gemini] {
            assert_eq!(
                read("text/event-stream; charset=utf-8", stream),
                Tokens { input: 15, output: 42 },
                "{stream}"
            );
        }
    }

    #[test]
    fn usage_is_found_in_a_whole_answer_and_missing_usage_is_none() {
        let whole = r#"{"content": [], "usage": {"input_tokens": 7, "output_tokens": 3}}"#;
        assert_eq!(read("application/json", whole), Tokens { input: 7, output: 3 });
        assert_eq!(read("application/json", "no json"), Tokens::default());
        assert_eq!(read("text/event-stream", "data: {\"usage\": \"high\"}\n"), Tokens::default());
    }

    #[test]
    fn a_price_is_for_a_million_tokens_and_rounded_up() {
        let price = Some((3_000_000, 15_000_000));
        assert_eq!(cost(Tokens { input: 1_000_000, output: 0 }, price), 3_000_000);
        assert_eq!(cost(Tokens { input: 10, output: 10 }, price), 180);
        assert_eq!(cost(Tokens { input: 1, output: 0 }, Some((1, 1))), 1);
        assert_eq!(cost(Tokens { input: 5, output: 5 }, None), 0);
    }
}
