//! A queue as the template describes it, in the words of SQS's own CreateQueue.

use serde_json::{Map, Value};

use super::scope::plain_text;

/// What has to exist: a name and attributes, every value text as SQS wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// Physical name; ends in `.fifo` where the queue is one.
    pub name: String,
    /// The `Attributes` of the CreateQueue call.
    pub attributes: Map<String, Value>,
}

impl Queue {
    /// Reads a queue's resolved properties. `name` comes without the `.fifo` ending.
    pub fn read(name: &str, properties: &Value) -> Self {
        let fields = properties.as_object().cloned().unwrap_or_default();
        let is_fifo = fields.get("FifoQueue").is_some_and(|flag| plain_text(flag) == "true");
        let attributes = fields
            .into_iter()
            // SQS knows no `FifoQueue: false`: the attribute is there or it is not.
            .filter(|(property, _)| property != "FifoQueue" || is_fifo)
            // A redrive policy travels as JSON in text, everything else as its plain text.
            .map(|(property, value)| (property, Value::String(plain_text(&value))));
        Self { name: format!("{name}{}", if is_fifo { ".fifo" } else { "" }), attributes: attributes.collect() }
    }
}
