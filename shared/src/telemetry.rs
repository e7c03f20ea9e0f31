//! Structured logs: one JSON object a line on standard output, which Lambda hands to CloudWatch.
//!
//! JSON encoding escapes CR, LF and control characters below U+0020. [`Escaping`] escapes U+007F to U+009F, which terminals
//! interpret too, so no value can forge a log line. No field contains a secret: no token, password, code, body or query
//! string.

use std::io::Write;
use tracing::{Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt as _;

/// Starts logging for this process, at the level named by `LOG_LEVEL` (`info` when absent or unknown).
pub fn start(env: &crate::config::Env) {
    start_to(env.optional("LOG_LEVEL").unwrap_or_default(), || Escaping(std::io::stdout()));
}

/// Starts logging at the given level to `writer`.
pub fn start_to<W>(level: &str, writer: W)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    // In tests a process may start logging twice; the first start wins.
    let _ = tracing::subscriber::set_global_default(subscriber(level.parse().unwrap_or(LevelFilter::INFO), writer));
}

/// A JSON log line that escapes the control characters JSON leaves as they are.
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
        // The runtime's hints for developers do not belong in an operator's log.
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

    /// Client text reaches the log in paths, job types and error reasons (R115).
    #[test]
    fn every_value_stays_within_one_log_line() {
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
