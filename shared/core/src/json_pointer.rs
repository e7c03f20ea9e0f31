//! JSON Pointer (RFC 6901).

use serde_json::{Map, Value};

/// A name as one step of a pointer.
pub fn escape(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// The name that a step of a pointer spells.
pub fn unescape(step: &str) -> String {
    step.replace("~1", "/").replace("~0", "~")
}

/// The value at `path`, a pointer without its first slash, below the members of an object. It goes through objects alone.
pub fn look_up<'a>(root: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    let mut steps = path.split('/').map(unescape);
    let first = root.get(&steps.next()?);
    steps.fold(first, |value, step| value?.get(&step))
}
