//! The cost of a schema: how often its subschemas are applied to one value, which references and `allOf` multiply without
//! end, how deep they nest, and how many patterns it has.
//!
//! The schema is treated as a graph. Some edges lead to schemas of the same value (`$ref`, `allOf`, `if`), others to schemas
//! of its members or elements (`properties`, `items`). Every path of the first kind counts as one application, and so does
//! every value compared by `enum` or `const`.
//!
//! If references lead to a schema of a value on several paths, the validator applies it once, because it caches results. So
//! there are two sums: over all paths, which is the cost of reporting every error, and over all reached schemas, which is the
//! cost of deciding whether a record is valid.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::keywords::inner_schemas;
use super::places::{Places, Target};
use crate::error::FieldError;
use crate::json_pointer::escape;

/// Maximum applications to one value at common depths.
pub(super) const MOST_APPLIED: u64 = 10_000;
/// The common depth. Deeper down, a recursive schema may multiply; that cost is checked per record.
const USUAL_DEPTH: usize = 4;
/// Maximum depth of a value in a record: the nesting limit of a body.
const DEEPEST: usize = 32;
/// Maximum length of a chain of schemas for one value.
const LONGEST_CHAIN: usize = 32;
/// Maximum cost of deciding whether a record is valid: a few seconds of CPU time if all values are long numbers.
const MOST_WORK: u64 = 20_000_000;
/// The cost of `multipleOf` relative to other keywords: numbers are exact, and so is the division.
const DIVISION: u64 = 100;
/// Maximum number of different patterns.
const MOST_PATTERNS: usize = 100;

/// Keywords that apply schemas to the same value.
const SAME: [&str; 10] =
    ["$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"];

/// The value that a subschema applies to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Edge {
    /// The same value.
    Same,
    /// The member with this name.
    Member(String),
    /// Any member.
    Members,
    /// The element at this index.
    Element(usize),
    /// Any element.
    Elements,
}

struct Graph<'a> {
    pointers: Vec<&'a str>,
    edges: Vec<Vec<(Edge, usize)>>,
    own: Vec<u64>,
    /// The schemas with `unevaluatedProperties` or `unevaluatedItems`.
    finds_the_rest: Vec<bool>,
    root: usize,
}

/// How often schemas are applied to a value, by its depth in a record.
#[derive(Debug, Clone)]
pub(super) struct Bound {
    /// On every path that leads to it.
    by_every_way: Vec<u64>,
    /// Once each.
    once: Vec<u64>,
}

impl Bound {
    /// The bound of a schema.
    ///
    /// # Errors
    /// When it is too costly, too deep or endless, or has too many patterns.
    pub fn of(schema: &Value) -> Result<Self, FieldError> {
        let Some(root) = schema.as_object() else { return Ok(Self { by_every_way: vec![1], once: vec![1] }) };
        let places = Places::of(root);
        check_patterns(&places)?;
        let graph = Graph::of(&places);
        let order = graph.inward()?;
        let applied = graph.applied(&order)?;
        let by_every_way = graph.by_depth(&order, &applied, u64::MAX);
        if by_every_way.iter().take(USUAL_DEPTH + 1).any(|applied| *applied > MOST_APPLIED) {
            return Err(too_much("/schema", "to one value a few levels deep"));
        }
        Ok(Self { by_every_way, once: graph.by_depth(&order, &applied, 1) })
    }

    /// The number of applications for a record with these values.
    pub fn applied_to(&self, data: &Value) -> u64 {
        sum(&self.by_every_way, data)
    }

    /// Whether validating the record would take too long.
    pub fn is_too_much(&self, data: &Value) -> bool {
        let most = self.once.iter().max().copied().unwrap_or_default();
        // Most schemas cost little at every depth.
        parts(data).saturating_mul(most) > MOST_WORK && sum(&self.once, data) > MOST_WORK
    }
}

fn sum(by_depth: &[u64], data: &Value) -> u64 {
    let (mut level, mut sum) = (vec![data], 0_u64);
    for applied in by_depth {
        let values = u64::try_from(level.len()).unwrap_or(u64::MAX);
        sum = sum.saturating_add(values.saturating_mul(*applied));
        level = level.into_iter().flat_map(inside).collect();
    }
    if level.is_empty() { sum } else { u64::MAX }
}

/// The number of values in a value, itself included.
fn parts(value: &Value) -> u64 {
    match value {
        Value::Array(elements) => elements.iter().map(parts).sum::<u64>() + 1,
        Value::Object(members) => members.values().map(parts).sum::<u64>() + 1,
        _ => 1,
    }
}

/// The cost of a schema without its subschemas. Strings in an `enum` are looked up by hash; with any other value in it, the
/// values are compared one by one, and numbers in full if the given one is not a small integer.
fn own(schema: &Map<String, Value>) -> u64 {
    let is_looked_up = |values: &[Value]| values.iter().all(|value| value.is_string() || value.is_null());
    let compared = match schema.get("enum").and_then(Value::as_array).map(Vec::as_slice) {
        None => 0,
        Some([only]) => parts(only) - 1,
        Some(values) if is_looked_up(values) => 0,
        Some(values) => values.iter().map(parts).sum(),
    };
    let divided = if schema.contains_key("multipleOf") { DIVISION } else { 0 };
    let constant = schema.get("const").map_or(0, |value| parts(value) - 1);
    compared + constant + divided + 1
}

fn finds_the_rest(schema: &Map<String, Value>) -> bool {
    ["unevaluatedProperties", "unevaluatedItems"].iter().any(|keyword| schema.contains_key(*keyword))
}

fn inside(value: &Value) -> Vec<&Value> {
    match value {
        Value::Array(elements) => elements.iter().collect(),
        Value::Object(members) => members.values().collect(),
        _ => Vec::new(),
    }
}

fn too_much(pointer: &str, to_what: &str) -> FieldError {
    let message = format!(
        "This schema costs too much: references, `allOf` and similar keywords, and the values of an `enum`, add up to more \
         than {MOST_APPLIED} schemas and values applied {to_what}. Refer to the same schema fewer times, or name fewer values."
    );
    FieldError::new(pointer, "too_complex", message)
}

fn check_patterns(places: &Places) -> Result<(), FieldError> {
    let mut patterns: BTreeSet<&str> = BTreeSet::new();
    for (pointer, schema) in &places.schemas {
        let named = schema.get("patternProperties").and_then(Value::as_object).into_iter().flat_map(Map::keys);
        let own = schema.get("pattern").and_then(Value::as_str);
        patterns.extend(named.map(String::as_str).chain(own));
        if patterns.len() > MOST_PATTERNS {
            let message = format!("A schema has at most {MOST_PATTERNS} different patterns. Remove some.");
            return Err(FieldError::new(pointer, "too_many", message));
        }
    }
    Ok(())
}

impl<'a> Graph<'a> {
    fn of(places: &'a Places) -> Self {
        let numbers: BTreeMap<&str, usize> =
            places.schemas.keys().enumerate().map(|(number, pointer)| (pointer.as_str(), number)).collect();
        let number = |pointer: &str| numbers.get(pointer).copied();
        let edges = places.schemas.iter().map(|(pointer, schema)| {
            let each = schema.iter().flat_map(|(keyword, value)| {
                let target = match (keyword.as_str(), value.as_str()) {
                    ("$ref" | "$dynamicRef", Some(reference)) => places.target(reference),
                    _ => None,
                };
                let target = target.and_then(|target| match target {
                    Target::Schema(pointer) => number(pointer),
                    Target::Boolean => None,
                });
                let here = format!("{pointer}/{}", escape(keyword));
                let inner = inner_schemas(keyword, value, &here).into_iter().filter_map(|(place, _)| {
                    let name = place.strip_prefix(&here).unwrap_or_default().trim_start_matches('/');
                    Some((edge(keyword, name)?, number(&place)?))
                });
                target.map(|target| (Edge::Same, target)).into_iter().chain(inner.collect::<Vec<_>>())
            });
            each.collect()
        });
        Self {
            edges: edges.collect(),
            own: places.schemas.values().map(|schema| own(schema)).collect(),
            finds_the_rest: places.schemas.values().map(|schema| finds_the_rest(schema)).collect(),
            pointers: places.schemas.keys().map(String::as_str).collect(),
            root: number("/schema").unwrap_or_default(),
        }
    }

    fn same(&self, from: usize) -> impl Iterator<Item = usize> {
        self.edges.get(from).into_iter().flatten().filter(|(edge, _)| *edge == Edge::Same).map(|(_, to)| *to)
    }

    fn pointer(&self, number: usize) -> &str {
        self.pointers.get(number).copied().unwrap_or("/schema")
    }

    /// The schemas, ordered so that each precedes those it applies to the same value.
    fn inward(&self) -> Result<Vec<usize>, FieldError> {
        let mut waits_for = vec![0_usize; self.edges.len()];
        (0..self.edges.len()).flat_map(|from| self.same(from)).for_each(|to| bump(&mut waits_for, to, |n| n + 1));
        let free = |waits_for: &[usize], number: usize| waits_for.get(number) == Some(&0);
        let mut order: Vec<usize> = (0..self.edges.len()).filter(|number| free(&waits_for, *number)).collect();
        let mut next = 0;
        while let Some(from) = order.get(next).copied() {
            next += 1;
            for to in self.same(from) {
                bump(&mut waits_for, to, |n| n.saturating_sub(1));
                if free(&waits_for, to) {
                    order.push(to);
                }
            }
        }
        match (0..self.edges.len()).find(|number| !free(&waits_for, *number)) {
            None => Ok(order),
            Some(number) => {
                let message = "This schema refers to itself for the same value and would never end. Refer to it from a member \
                               or an element.";
                Err(FieldError::new(self.pointer(number), "endless", message))
            }
        }
    }

    /// For each schema, the number of applications to its value, itself included. An `unevaluated*` keyword applies all
    /// sibling schemas again, and everything below them, to find the evaluated members or elements.
    fn applied(&self, order: &[usize]) -> Result<Vec<u64>, FieldError> {
        let mut applied = self.own.clone();
        let mut once_more = vec![0_u64; self.edges.len()];
        let mut chain = vec![1_usize; self.edges.len()];
        for from in order.iter().rev().copied() {
            let own = at(&self.own, from);
            let again = self
                .same(from)
                .fold(own, |sum, to| sum.saturating_add(at(&applied, to)).saturating_add(at(&once_more, to)));
            bump(&mut once_more, from, |_| again);
            let sum = self.same(from).fold(own, |sum, to| sum.saturating_add(at(&applied, to)));
            let sum = if at(&self.finds_the_rest, from) { sum.saturating_add(again) } else { sum };
            let longest = self.same(from).map(|to| at(&chain, to)).max().unwrap_or_default() + 1;
            if longest > LONGEST_CHAIN {
                let message = format!(
                    "More than {LONGEST_CHAIN} schemas of one value refer to each other in a chain. Shorten the chain."
                );
                return Err(FieldError::new(self.pointer(from), "too_deep", message));
            }
            if sum > MOST_APPLIED {
                return Err(too_much(self.pointer(from), "to one value"));
            }
            bump(&mut applied, from, |_| sum);
            bump(&mut chain, from, |_| longest);
        }
        Ok(applied)
    }

    /// The maximum applications to a value at each depth, if each schema is reached this often. Of two members only the
    /// costlier one counts: a record with both has one more value.
    fn by_depth(&self, order: &[usize], applied: &[u64], most: u64) -> Vec<u64> {
        let mut reached = vec![0_u64; self.edges.len()];
        bump(&mut reached, self.root, |_| 1);
        let mut by_depth = vec![at(applied, self.root)];
        for _ in 0..DEEPEST {
            for from in order.iter().copied() {
                let times = at(&reached, from);
                self.same(from).for_each(|to| bump(&mut reached, to, |n: u64| n.saturating_add(times).min(most)));
            }
            let (work, next) = self.one_deeper(&reached, applied, most);
            reached = next;
            by_depth.push(work);
        }
        by_depth
    }

    /// The applications to the values inside a value to which each schema is applied this often.
    fn one_deeper(&self, reached: &[u64], applied: &[u64], limit: u64) -> (u64, Vec<u64>) {
        let mut inner: BTreeMap<&Edge, BTreeMap<usize, u64>> = BTreeMap::new();
        for (from, edges) in self.edges.iter().enumerate().filter(|(from, _)| at(reached, *from) > 0) {
            for (edge, to) in edges.iter().filter(|(edge, _)| *edge != Edge::Same) {
                let times = inner.entry(edge).or_default().entry(*to).or_default();
                *times = times.saturating_add(at(reached, from)).min(limit);
            }
        }
        let (mut most, mut next) = (0, vec![0; self.edges.len()]);
        let none = BTreeMap::new();
        for (of_any, is_one) in [(Edge::Members, is_member as fn(&Edge) -> bool), (Edge::Elements, is_element)] {
            let any = inner.get(&of_any).unwrap_or(&none);
            let of_each = work(any, applied);
            most = most.max(of_each);
            any.iter().for_each(|(to, times)| bump(&mut next, *to, |n: u64| n.max(*times)));
            for one in inner.iter().filter(|(edge, _)| is_one(edge)).map(|(_, schemas)| schemas) {
                most = most.max(of_each.saturating_add(work(one, applied)));
                for (to, times) in one {
                    let sum = times.saturating_add(any.get(to).copied().unwrap_or_default()).min(limit);
                    bump(&mut next, *to, |n: u64| n.max(sum));
                }
            }
        }
        (most, next)
    }
}

fn work(schemas: &BTreeMap<usize, u64>, applied: &[u64]) -> u64 {
    schemas.iter().fold(0, |sum, (to, times)| sum.saturating_add(times.saturating_mul(at(applied, *to))))
}

fn is_member(edge: &Edge) -> bool {
    matches!(edge, Edge::Member(_))
}

fn is_element(edge: &Edge) -> bool {
    matches!(edge, Edge::Element(_))
}

/// What a keyword's subschema, with that name or index, applies to. `None` if it applies to nothing.
fn edge(keyword: &str, name: &str) -> Option<Edge> {
    match keyword {
        same if SAME.contains(&same) => Some(Edge::Same),
        "properties" => Some(Edge::Member(name.to_owned())),
        "patternProperties" | "additionalProperties" | "unevaluatedProperties" | "propertyNames" => Some(Edge::Members),
        "prefixItems" => Some(Edge::Element(name.parse().ok()?)),
        "items" | "contains" | "unevaluatedItems" => Some(Edge::Elements),
        _ => None,
    }
}

fn at<T: Copy + Default>(all: &[T], number: usize) -> T {
    all.get(number).copied().unwrap_or_default()
}

fn bump<T: Copy>(all: &mut [T], number: usize, change: impl FnOnce(T) -> T) {
    if let Some(one) = all.get_mut(number) {
        *one = change(*one);
    }
}
