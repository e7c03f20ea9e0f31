//! A role as the template writes it, and its verdict. What this cannot evaluate as AWS does, it refuses to read.

use serde_json::Value;

use super::needs::Need;
use super::pattern::matches;
use crate::template::{Refusal, plain_text};

/// Conditions on a request's context that are understood.
const CONDITION_KEYS: &[&str] = &["dynamodb:LeadingKeys", "ses:FromAddress"];
/// A key that has many values at once can only be compared by `ForAllValues`.
const MANY_VALUED: &[&str] = &["dynamodb:LeadingKeys"];

/// What a function may do.
#[derive(Debug, Clone)]
pub struct Role {
    /// Physical name.
    pub name: String,
    statements: Vec<Statement>,
}

#[derive(Debug, Clone)]
struct Statement {
    name: String,
    allows: bool,
    actions: Vec<String>,
    resources: Vec<String>,
    conditions: Vec<Condition>,
}

#[derive(Debug, Clone)]
struct Condition {
    /// `ForAllValues`: holds where the request has no value at all, too. That is AWS's own rule.
    for_all: bool,
    /// `StringLike` and not `StringEquals`.
    like: bool,
    key: String,
    values: Vec<String>,
}

/// Whether a role allows something.
#[derive(Debug)]
pub enum Verdict<'a> {
    /// These statements do, each by this action of theirs.
    Allowed(Vec<(&'a str, &'a str)>),
    /// None does, or one denies it.
    Denied {
        /// A statement denies it.
        explicitly: bool,
    },
}

impl Role {
    /// Reads a role's resolved properties.
    ///
    /// # Errors
    /// A statement holds what cannot be evaluated here: named in the refusal.
    pub fn read(name: String, properties: &Value) -> Result<Self, Refusal> {
        let mut statements = Vec::new();
        for policy in list(properties.get("Policies")) {
            let document = policy.get("PolicyDocument").unwrap_or(&Value::Null);
            if document.get("Version").and_then(Value::as_str) != Some("2012-10-17") {
                return Err(Refusal::new("PolicyDocument", "Version", "is not 2012-10-17"));
            }
            for (at, statement) in list(document.get("Statement")).iter().enumerate() {
                let sid = statement.get("Sid").map_or_else(|| format!("Statement {}", at + 1), plain_text);
                let read = Statement::read(sid.clone(), statement);
                statements.push(read.map_err(|refusal| refusal.within("", &format!("Policies.{sid}")))?);
            }
        }
        Ok(Self { name, statements })
    }

    /// Whether the role allows this: one statement must, and none may deny it.
    pub fn verdict(&self, need: &Need) -> Verdict<'_> {
        let speaking: Vec<_> = self.statements.iter().filter_map(|one| Some((one, one.speaks_of(need)?))).collect();
        if speaking.is_empty() || speaking.iter().any(|(statement, _)| !statement.allows) {
            return Verdict::Denied { explicitly: !speaking.is_empty() };
        }
        Verdict::Allowed(speaking.into_iter().map(|(statement, action)| (statement.name.as_str(), action)).collect())
    }

    /// Each statement's name with each action it allows.
    pub fn allowed_actions(&self) -> impl Iterator<Item = (&str, &str)> {
        let allowing = self.statements.iter().filter(|statement| statement.allows);
        allowing.flat_map(|one| one.actions.iter().map(|action| (one.name.as_str(), action.as_str())))
    }
}

impl Statement {
    fn read(name: String, statement: &Value) -> Result<Self, Refusal> {
        let known = ["Action", "Condition", "Effect", "Resource", "Sid"];
        let fields = statement.as_object();
        if let Some(stranger) = fields.and_then(|fields| fields.keys().find(|key| !known.contains(&key.as_str()))) {
            return Err(Refusal::new("", stranger, "cannot be evaluated here"));
        }
        let allows = match statement.get("Effect").and_then(Value::as_str) {
            Some("Allow") => true,
            Some("Deny") => false,
            _ => return Err(Refusal::new("", "Effect", "is neither Allow nor Deny")),
        };
        let (actions, resources) = (texts(statement.get("Action")), texts(statement.get("Resource")));
        if actions.is_empty() || resources.is_empty() {
            return Err(Refusal::new("", "Action and Resource", "both need a value"));
        }
        if let Some(variable) = resources.iter().find(|resource| resource.contains("${")) {
            return Err(Refusal::new("Resource", variable, "policy variables cannot be evaluated here"));
        }
        Ok(Self { name, allows, actions, resources, conditions: conditions(statement.get("Condition"))? })
    }

    /// The action by which this statement has something to say about `need`.
    fn speaks_of(&self, need: &Need) -> Option<&str> {
        let wanted = need.action.to_lowercase();
        let action = self.actions.iter().find(|action| matches(&action.to_lowercase(), &wanted))?;
        let concerned = self.resources.iter().any(|resource| matches(resource, &need.resource))
            && self.conditions.iter().all(|condition| condition.holds(need));
        concerned.then_some(action)
    }
}

impl Condition {
    fn read(operator: &str, key: &str, values: &Value) -> Result<Self, Refusal> {
        let (for_all, comparison) = match operator.strip_prefix("ForAllValues:") {
            Some(comparison) => (true, comparison),
            None => (false, operator),
        };
        let like = match comparison {
            "StringEquals" => false,
            "StringLike" => true,
            _ => return Err(Refusal::new("Condition", operator, "this operator cannot be evaluated here")),
        };
        if !CONDITION_KEYS.contains(&key) {
            return Err(Refusal::new(format!("Condition.{operator}"), key, "this key cannot be evaluated here"));
        }
        if !for_all && MANY_VALUED.contains(&key) {
            return Err(Refusal::new(format!("Condition.{operator}"), key, "has many values: it needs ForAllValues"));
        }
        let values = texts(Some(values));
        if let Some(variable) = values.iter().find(|value| value.contains("${")) {
            return Err(Refusal::new("Condition", variable, "policy variables cannot be evaluated here"));
        }
        Ok(Self { for_all, like, key: key.to_owned(), values })
    }

    fn holds(&self, need: &Need) -> bool {
        let found = need.context.get(self.key.as_str()).map(Vec::as_slice).unwrap_or_default();
        let wanted = |value: &String| {
            self.values.iter().any(|allowed| if self.like { matches(allowed, value) } else { allowed == value })
        };
        found.iter().all(wanted) && (self.for_all || !found.is_empty())
    }
}

fn conditions(value: Option<&Value>) -> Result<Vec<Condition>, Refusal> {
    let operators = value.and_then(Value::as_object).into_iter().flatten();
    let each = operators.flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, values)| Condition::read(operator, key, values))
    });
    each.collect()
}

/// IAM takes one thing wherever it takes a list.
fn list(value: Option<&Value>) -> Vec<&Value> {
    match value {
        Some(Value::Array(items)) => items.iter().collect(),
        Some(one) => vec![one],
        None => Vec::new(),
    }
}

fn texts(value: Option<&Value>) -> Vec<String> {
    list(value).into_iter().map(plain_text).collect()
}
