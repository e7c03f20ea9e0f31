//! Which operators DynamoDB can apply without a read: those whose result is valid by the schema exactly when a condition on the
//! stored value holds.

use super::collection::Collection;
use super::read_reasons::ReadReason;
use crate::expr::number;
use crate::json_pointer::look_up;
use crate::operators::{Operator, Operators};
use serde_json::{Map, Number, Value, json};

/// Maximum number of operators in a write without a read: DynamoDB limits the length of a condition.
const MOST_FIELDS: usize = 4;
/// Maximum number of elements that the condition looks for in a list with `uniqueItems`.
const MOST_SOUGHT: usize = 10;
/// Maximum number of references followed to a field's schema.
const MAX_HOPS: usize = 8;

/// Keywords without an effect on the validity of a value.
const ANNOTATIONS: [&str; 12] = [
    "type",
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "$comment",
    "readOnly",
    "writeOnly",
    "writeOnce",
    "hidden",
    "relation",
];
/// Keywords of a number that a condition can express.
const OF_NUMBERS: [&str; 5] = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"];
/// Keywords of a list that a condition can express. The elements are validated before.
const OF_LISTS: [&str; 3] = ["items", "maxItems", "uniqueItems"];

/// What must hold for the stored value of a field before an operator is applied to it.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredCheck {
    /// Whether the field may be absent.
    pub may_be_absent: bool,
    /// The value is of this type, and satisfies these tests.
    pub tests: ValueTests,
}

/// Tests of a stored value.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueTests {
    /// A number, which compares like this with each of these.
    Number(Vec<(&'static str, Number)>),
    /// A list.
    List {
        /// Its maximum number of elements.
        most: Option<u64>,
        /// The elements that it must not have.
        without: Vec<Value>,
    },
}

impl Collection {
    /// The reasons in the definition against applying operators without a read.
    pub fn operator_reasons<'a>(&'a self, operators: &'a Operators) -> impl Iterator<Item = ReadReason> + 'a {
        let unchecked = operators.each().filter(|(field, operator)| self.stored_check(field, operator).is_none());
        let unchecked = unchecked.map(|(field, _)| ReadReason::Checked(field.to_owned()));
        let many = (operators.names().len() > MOST_FIELDS).then_some(ReadReason::Many(MOST_FIELDS));
        // The sum of many appended elements has no limit of its own.
        let is_long = operators.each().any(|(_, operator)| matches!(operator, Operator::Append(_)));
        let size = (is_long && self.hidden_fields().next().is_some()).then_some(ReadReason::Size);
        self.read_reasons(operators.names()).chain(size).chain(many).chain(unchecked)
    }

    /// What must hold for the stored value so that the result is valid by the schema. `None` if a condition cannot say that.
    pub fn stored_check(&self, field: &str, operator: &Operator) -> Option<StoredCheck> {
        let property = self.definition().schema.get("properties")?.get(field)?.as_object()?;
        let is_known = |own: &[&str]| {
            let known = |keyword: &String| ANNOTATIONS.contains(&keyword.as_str()) || own.contains(&keyword.as_str());
            !self.is_changing() && property.keys().all(known)
        };
        match operator {
            Operator::Add(number) if is_known(&OF_NUMBERS) && is_one_of(property, &["integer", "number"]) => {
                self.check_of_sum(field, property, number)
            }
            Operator::Append(elements) if is_known(&OF_LISTS) && is_one_of(property, &["array"]) => {
                self.check_of_append(field, property, elements)
            }
            // DynamoDB removes elements by position only.
            _ => None,
        }
    }

    /// The sum is valid if the stored number is within the bounds minus what is added, and if both are multiples.
    fn check_of_sum(&self, field: &str, property: &Map<String, Value>, number: &Number) -> Option<StoredCheck> {
        let kinds =
            ["type", "multipleOf"].into_iter().filter_map(|name| Some((name.to_owned(), property.get(name)?.clone())));
        let step = Value::Object(kinds.collect());
        if !jsonschema::is_valid(&step, &number.clone().into()) {
            return None;
        }
        let signs = [("minimum", ">="), ("maximum", "<="), ("exclusiveMinimum", ">"), ("exclusiveMaximum", "<")];
        let mut tests = Vec::new();
        for (keyword, sign) in signs {
            if let Some(bound) = property.get(keyword) {
                tests.push((sign, number::sum(bound.as_number()?, &number::negated(number)).ok()?));
            }
        }
        let may_be_absent = self.validate_patch(&mut one(field, number.clone().into())).is_ok();
        Some(StoredCheck { may_be_absent, tests: ValueTests::Number(tests) })
    }

    /// The longer list is valid if the new elements are, and if the stored list has room for them and none of them.
    fn check_of_append(&self, field: &str, property: &Map<String, Value>, elements: &[Value]) -> Option<StoredCheck> {
        if self.validate_patch(&mut one(field, elements.to_vec().into())).is_err() {
            return None;
        }
        let room = |most: &Value| most.as_u64()?.checked_sub(u64::try_from(elements.len()).ok()?);
        let most = property.get("maxItems").map(room);
        let without = if self.is_set(field) { elements.to_vec() } else { Vec::new() };
        // DynamoDB's `contains` differs for other types.
        let is_sought = |element: &Value| element.is_string() || element.is_number();
        if most == Some(None) || without.len() > MOST_SOUGHT || !without.iter().all(is_sought) {
            return None;
        }
        Some(StoredCheck { may_be_absent: true, tests: ValueTests::List { most: most.flatten(), without } })
    }

    /// Whether the elements of this field must be unique.
    pub fn is_set(&self, field: &str) -> bool {
        let Some(root) = self.definition().schema.as_object() else { return false };
        let mut property = root.get("properties").and_then(|properties| properties.get(field));
        for _ in 0..MAX_HOPS {
            match property.and_then(|property| property.get("$ref")).and_then(Value::as_str) {
                Some(reference) => property = reference.strip_prefix("#/").and_then(|path| look_up(root, path)),
                None => break,
            }
        }
        property.and_then(|property| property.get("uniqueItems")) == Some(&Value::Bool(true))
    }
}

fn one(field: &str, value: Value) -> Map<String, Value> {
    Map::from_iter([(field.to_owned(), value)])
}

/// Whether every value of the property is of one of these types, or `null`.
fn is_one_of(property: &Map<String, Value>, types: &[&str]) -> bool {
    let fits = |name: &Value| name.as_str().is_some_and(|name| types.contains(&name));
    match property.get("type") {
        Some(Value::Array(names)) => names.iter().all(|name| fits(name) || *name == json!("null")),
        Some(name) => fits(name),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::Definition;

    fn collection() -> Collection {
        let body = json!({ "rules": {}, "unique": [["slug"]], "schema": { "type": "object", "additionalProperties": false,
            "required": ["needed"], "$defs": { "tags": { "type": "array", "items": { "type": "string" }, "uniqueItems": true } },
            "properties": {
                "views": { "type": "integer", "minimum": 0, "maximum": 10, "title": "Views" },
                "needed": { "type": ["number", "null"], "exclusiveMinimum": -1 },
                "cents": { "type": "number", "multipleOf": 0.05 },
                "rating": { "enum": [1, 2] },
                "tags": { "type": "array", "items": { "type": "string" }, "maxItems": 5, "uniqueItems": true },
                "shared": { "$ref": "#/$defs/tags" },
                "log": { "type": "array", "items": { "type": "object" } },
                "some": { "type": "array", "minItems": 2 },
                "slug": { "type": "integer" } } } });
        Collection::compile(Definition::parse("c", body, None).unwrap()).unwrap()
    }

    fn check(field: &str, operator: Operator) -> Option<StoredCheck> {
        collection().stored_check(field, &operator)
    }

    fn add(field: &str, number: &str) -> Option<StoredCheck> {
        check(field, Operator::Add(serde_json::from_str(number).unwrap()))
    }

    #[test]
    fn a_bound_moves_by_what_is_added() {
        let number = |text: &str| serde_json::from_str::<Number>(text).unwrap();
        let found = add("views", "3").unwrap();
        assert_eq!(found.tests, ValueTests::Number(vec![(">=", number("-3")), ("<=", number("7"))]));
        assert!(found.may_be_absent);
        assert!(!add("views", "11").unwrap().may_be_absent, "the sum for an absent field would be too large");
        assert!(!add("views", "-1").unwrap().may_be_absent);
        assert_eq!(add("needed", "0.5").unwrap().tests, ValueTests::Number(vec![(">", number("-1.5"))]));
        assert_eq!(add("cents", "0.15").unwrap().tests, ValueTests::Number(vec![]));
        for (field, added) in [("views", "0.5"), ("cents", "0.01"), ("rating", "1"), ("tags", "1"), ("absent", "1")] {
            assert_eq!(add(field, added), None, "{field}");
        }
    }

    #[test]
    fn a_list_has_room_for_what_is_appended_and_nothing_of_it() {
        let found = check("tags", Operator::Append(vec![json!("x"), json!("y")])).unwrap();
        let without = vec![json!("x"), json!("y")];
        assert_eq!(found, StoredCheck { may_be_absent: true, tests: ValueTests::List { most: Some(3), without } });
        let found = check("log", Operator::Append(vec![json!({})])).unwrap();
        assert_eq!(found.tests, ValueTests::List { most: None, without: vec![] });
        for (field, elements) in [
            ("tags", json!([1])),
            ("tags", json!(["x", "x"])),
            ("tags", json!(["a", "b", "c", "d", "e", "f"])),
            ("some", json!([1, 2])),
            ("shared", json!(["x"])),
            ("views", json!([1])),
        ] {
            let elements = elements.as_array().cloned().unwrap();
            assert_eq!(check(field, Operator::Append(elements)), None, "{field}");
        }
        assert_eq!(check("tags", Operator::Remove(vec![])), None);
        assert!(collection().is_set("shared") && collection().is_set("tags") && !collection().is_set("log"));
    }

    /// Whether a stored value satisfies a check, as DynamoDB compares.
    fn holds(check: &StoredCheck, stored: Option<&Value>) -> bool {
        let Some(stored) = stored else { return check.may_be_absent };
        match (&check.tests, stored) {
            (ValueTests::Number(bounds), Value::Number(stored)) => bounds.iter().all(|(sign, bound)| {
                let order = number::compare(stored, bound);
                match *sign {
                    ">=" => order.is_ge(),
                    "<=" => order.is_le(),
                    ">" => order.is_gt(),
                    _ => order.is_lt(),
                }
            }),
            (ValueTests::List { most, without }, Value::Array(stored)) => {
                most.is_none_or(|most| stored.len() as u64 <= most)
                    && !without.iter().any(|sought| stored.contains(sought))
            }
            _ => false,
        }
    }

    #[test]
    fn whatever_a_condition_lets_through_is_valid() {
        let collection = collection();
        let numbers = ["-3", "-1.5", "-1", "-0.05", "0", "0.5", "1", "0.15", "7", "10", "11"];
        let numbers = numbers.map(|text| serde_json::from_str::<Value>(text).unwrap());
        let lists = [json!([]), json!(["x"]), json!(["x", "y"]), json!(["a", "b", "c", "d"]), json!([1]), json!([{}])];
        let (mut let_through, mut kept_back) = (0, 0);
        for field in ["views", "needed", "cents", "rating", "tags", "shared", "log", "some"] {
            let operands = numbers.iter().chain(&lists);
            for (operand, stored) in operands.flat_map(|operand| {
                let stored = numbers.iter().chain(&lists).map(Some).chain([None, Some(&Value::Null)]);
                stored.map(move |stored| (operand, stored))
            }) {
                let operator = match operand {
                    Value::Number(number) => Operator::Add(number.clone()),
                    list => Operator::Append(list.as_array().cloned().unwrap_or_default()),
                };
                let mut data = Map::from_iter([("needed".to_owned(), json!(1))]);
                stored.into_iter().for_each(|stored| drop(data.insert(field.to_owned(), stored.clone())));
                let is_stored = collection.validate(&mut data.clone()).is_ok();
                let Some(check) = collection.stored_check(field, &operator).filter(|_| is_stored) else { continue };
                let body = json!({ operator.name(): { field: operand } });
                let applied = Operators::parse(body).unwrap().apply(&mut data, |field| collection.is_set(field));
                let is_valid = applied.is_ok() && collection.validate(&mut data).is_ok();
                if holds(&check, data_before(stored, field)) {
                    assert!(is_valid, "{field}: {stored:?} with {operator:?} by {check:?}");
                    let_through += 1;
                } else {
                    kept_back += 1;
                }
            }
        }
        assert!(let_through > 200 && kept_back > 40, "{let_through} {kept_back}");
    }

    /// What is stored in the field. `needed` always has a value.
    fn data_before<'a>(stored: Option<&'a Value>, field: &str) -> Option<&'a Value> {
        static ONE: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!(1));
        if field == "needed" { stored.or(Some(&ONE)) } else { stored }
    }

    #[test]
    fn a_read_is_explained() {
        let operators = |body: Value| Operators::parse(body).unwrap();
        let reasons = |body: Value| collection().operator_reasons(&operators(body)).collect::<Vec<_>>();
        assert_eq!(reasons(json!({ "add": { "views": 1 }, "append": { "tags": ["x"] } })), []);
        assert_eq!(reasons(json!({ "remove": { "tags": ["x"] } })), [ReadReason::Checked("tags".into())]);
        assert_eq!(reasons(json!({ "add": { "slug": 1 } })), [ReadReason::Keyed("slug".into())]);
        assert_eq!(
            reasons(json!({ "add": { "views": 1, "needed": 1, "cents": 0.1, "slug": 1 }, "append": { "tags": [] } })),
            [ReadReason::Keyed("slug".into()), ReadReason::Many(4)]
        );
    }
}
