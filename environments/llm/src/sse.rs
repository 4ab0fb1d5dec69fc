//! Server-sent events, line by line. Without IO, so that every way of cutting a stream can be tested.

/// One event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// Its type; empty if the server named none.
    pub name: String,
    /// Its data.
    pub data: String,
}

/// Puts lines together.
#[derive(Debug, Default)]
pub struct Parser {
    name: String,
    data: Option<String>,
}

impl Parser {
    /// Takes a line without its end; an empty one ends an event.
    pub fn line(&mut self, line: &str) -> Option<SseEvent> {
        let line = line.trim_start_matches('\u{feff}');
        if line.is_empty() {
            let name = std::mem::take(&mut self.name);
            return self.data.take().map(|data| SseEvent { name, data });
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "data" => match &mut self.data {
                Some(data) => {
                    data.push('\n');
                    data.push_str(value);
                }
                None => self.data = Some(value.to_owned()),
            },
            // Comments keep connections alive; ids and retry times are not used by any provider.
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_put_together_and_comments_left_out() {
        let mut parser = Parser::default();
        let text = ": ping\n\nevent: a\ndata: {\"x\":\ndata:1}\nid: 7\n\ndata: [DONE]\n\nevent: nothing\n\ndata: cut off";
        let events: Vec<_> = text.lines().filter_map(|line| parser.line(line)).collect();
        let event = |name: &str, data: &str| SseEvent { name: name.into(), data: data.into() };
        assert_eq!(events, [event("a", "{\"x\":\n1}"), event("", "[DONE]")]);
    }
}
