//! Withdrawals: what a new definition no longer allows. No caller may use it once every function acts on the new definition;
//! until then the definition shows both states.

use super::definition::Definition;
use super::field::{self, Field};
use super::transition::Withdrawal;
use crate::expr::Rule;
use serde_json::{Map, Value};

impl Withdrawal {
    /// The withdrawal when `new` is put over `old`.
    pub(super) fn between(old: &Definition, new: &Definition, in_force_at: u64) -> Self {
        let (Value::Object(old), new) = (old.as_put(), new.as_put()) else {
            return Self { in_force_at, previous: Map::new() };
        };
        let previous = old.into_iter().filter(|(name, value)| new.get(name) != Some(value)).collect();
        Self { in_force_at, previous }
    }
}

/// Whether some caller may do less by `new` than by `old`, as far as rules and field flags show: a rule that is not
/// recognised as wider, a field that becomes hidden, readOnly or writeOnce, a removed relation.
pub(super) fn takes_away(old: &Definition, new: &Definition) -> bool {
    let lessens = |rule: Rule| {
        let (before, now) = (old.rules.get(&rule), new.rules.get(&rule));
        before.is_some_and(|before| !now.is_some_and(|now| is_wider(before, now)))
    };
    Rule::ALL.into_iter().any(lessens) || of_fields(old, new)
}

/// Whether the text of a rule shows that it allows everything the previous one did.
pub(super) fn is_wider(before: &str, now: &str) -> bool {
    let (before, now) = (before.trim(), now.trim());
    // `||` has the lowest precedence, so the text before or after it is a complete alternative.
    let is_alternative = || {
        let first = now.strip_prefix(before).is_some_and(|rest| rest.trim_start().starts_with("||"));
        first || now.strip_suffix(before).is_some_and(|rest| rest.trim_end().ends_with("||"))
    };
    before == now || now == "true" || before == "false" || is_alternative()
}

fn of_fields(old: &Definition, new: &Definition) -> bool {
    let (old, new) = (field::read(&old.schema, &mut Vec::new()), field::read(&new.schema, &mut Vec::new()));
    let loses = |before: &Field, now: &Field| {
        marks(now).into_iter().zip(marks(before)).any(|(now, before)| now && !before)
            || (before.relation.is_some() && before.relation != now.relation)
    };
    old.iter().any(|(name, before)| new.get(name).is_some_and(|now| loses(before, now)))
}

fn marks(field: &Field) -> [bool; 3] {
    [field.value.hidden, field.read_only, field.write_once]
}

/// The schema `old` with the flags that `new` adds to its fields, which do not affect validity.
pub(super) fn with_marks_of(old: &Value, new: &Value) -> Value {
    let mut marked = old.clone();
    let fields = marked.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten();
    for (name, field) in fields {
        let now = new.get("properties").and_then(|properties| properties.get(name));
        for mark in ["hidden", "readOnly", "writeOnce"] {
            let is_marked = now.and_then(|now| now.get(mark)) == Some(&Value::Bool(true));
            if let (true, Some(field)) = (is_marked, field.as_object_mut()) {
                field.insert(mark.to_owned(), Value::Bool(true));
            }
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use super::is_wider;

    #[test]
    fn a_wider_rule_is_recognised_by_its_text() {
        let owner = "record.owner == auth.id";
        for wider in [owner, "true", " record.owner == auth.id ", "record.owner == auth.id || auth.verified"] {
            assert!(is_wider(owner, wider), "{wider}");
        }
        assert!(is_wider(owner, "record.open || record.owner == auth.id"));
        assert!(is_wider("false", owner));
        for narrower in
            ["false", "record.owner == auth.id && auth.verified", "record.owner == auth.email", "record.open"]
        {
            assert!(!is_wider(owner, narrower), "{narrower}");
        }
        assert!(!is_wider("true", owner));
    }
}
