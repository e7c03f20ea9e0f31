//! A queue of the template, as parameters of `CreateQueue`.

use serde_json::{Map, Value};

use super::scope::plain_text;

/// A queue's name and attributes; all values are strings.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Physical name; ends with `.fifo` if the queue is FIFO.
    pub name: String,
    /// The `Attributes` of the CreateQueue call.
    pub attributes: Map<String, Value>,
}

impl Queue {
    /// Reads a queue's resolved properties. `name` has no `.fifo` suffix.
    pub fn read(name: &str, properties: &Value) -> Self {
        let fields = properties.as_object().cloned().unwrap_or_default();
        let is_fifo = fields.get("FifoQueue").is_some_and(|flag| plain_text(flag) == "true");
        let attributes = fields
            .into_iter()
            // SQS rejects `FifoQueue: false`: the attribute must be omitted.
            .filter(|(property, _)| property != "FifoQueue" || is_fifo)
            // A redrive policy becomes a JSON string.
            .map(|(property, value)| (property, Value::String(plain_text(&value))));
        Self { name: format!("{name}{}", if is_fifo { ".fifo" } else { "" }), attributes: attributes.collect() }
    }
}
