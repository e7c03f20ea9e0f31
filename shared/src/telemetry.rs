//! Structured logs: one JSON object a line on standard output, which Lambda hands to CloudWatch.
//!
//! JSON encoding escapes CR, LF and control characters below U+0020, and [`Escaping`] those from U+007F to U+009F, which
//! terminals obey too: no value can forge a line. Nothing secret is ever a field: not a token, a password, a code, a body or a
//! query string.

use std::io::Write;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// Starts logging for this process, at the level named by `LOG_LEVEL` (`info` when absent or unknown).
pub fn start(env: &crate::config::Env) {
    start_to(env.optional("LOG_LEVEL").unwrap_or_default(), || Escaping(std::io::stdout()));
}

/// The same at the level of this name, to wherever `writer` says.
pub fn start_to<W>(level: &str, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // A second start in one process (tests) keeps the first.
    let _ = tracing::subscriber::set_global_default(subscriber(level.parse().unwrap_or(LevelFilter::INFO), writer));
}

/// A line of JSON on its way out, with the control characters escaped that JSON lets stand.
struct Escaping<W>(W);

impl<W: Write> Write for Escaping<W> {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        let is_control = |char: &char| matches!(char, '\u{7f}'..='\u{9f}');
        match std::str::from_utf8(line) {
            Ok(text) if text.chars().any(|char| is_control(&char)) => {
                let escaped = |char: char| match is_control(&char) {
                    true => format!("\\u{:04x}", u32::from(char)),
                    false => char.to_string(),
                };
                self.0.write_all(text.chars().map(escaped).collect::<String>().as_bytes())?;
            }
            _ => self.0.write_all(line)?,
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

fn subscriber<W>(level: LevelFilter, lines: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    tracing_subscriber::fmt()
        .json()
        .flatten_event(true)
        .with_current_span(false)
        .with_span_list(false)
        .with_target(false)
        .with_max_level(level)
        .with_writer(lines)
        .finish()
        // The runtime's own advice to developers is no business of an operator's log.
        .with(filter_fn(|line| !line.target().starts_with("lambda_runtime") || *line.level() == Level::ERROR))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    /// What a client says reaches the log in a path, a job's type and the reasons of failures (R115).
    #[test]
    fn whatever_a_value_holds_it_is_one_value_of_one_line() {
        let lines = Lines::default();
        let into = lines.clone();
        let said =
            ["\r\n{\"level\":\"ERROR\"}", "\n\n", "\u{1b}[2J\u{1b}[31m", "\u{0}\u{7f}\u{9b}31m", "a\u{2028}b", "\"}"];
        tracing::subscriber::with_default(subscriber(LevelFilter::INFO, move || Escaping(into.clone())), || {
            for value in said {
                tracing::info!(path = value, error = %value, "a line");
                tracing::warn!("{value}");
            }
        });
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        assert!(!text.chars().any(|char| char.is_control() && char != '\n'), "{text:?}");
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).expect("a JSON object")).collect();
        assert_eq!(lines.len(), 2 * said.len());
        for (line, value) in lines.iter().step_by(2).zip(said) {
            assert_eq!((&line["path"], &line["error"], &line["level"]), (&value.into(), &value.into(), &"INFO".into()));
        }
    }
}
