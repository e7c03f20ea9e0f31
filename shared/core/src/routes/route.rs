//! One route: who may call it, its inputs, and every answer it can give.

/// The parameters that are headers.
const HEADERS: [&str; 3] = ["IfMatch", "IfNoneMatch", "IdempotencyKey"];

/// Who may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Everybody. A token that is sent is ignored.
    Anyone,
    /// Everybody. A token that is sent must be valid, and decides what is shown.
    AnyoneByToken,
    /// Callers with an access token or a refresh token of the session.
    Session,
    /// Signed-in users.
    SignedIn,
    /// Admins.
    Admin,
    /// Callers whom the rules allow each operation in the body.
    EachOperation,
    /// Callers whom one of these rules of the collection allows.
    Rules(&'static [&'static str]),
}

impl std::fmt::Display for Policy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Anyone | Self::AnyoneByToken => f.write_str("anyone"),
            Self::Session => f.write_str("session"),
            Self::SignedIn => f.write_str("signed-in"),
            Self::Admin => f.write_str("admin"),
            Self::EachOperation => f.write_str("each-operation"),
            Self::Rules(rules) => write!(f, "rule:{}", rules.join(",")),
        }
    }
}

/// A body that is read.
#[derive(Debug, Clone)]
pub struct Body {
    /// Its schema, by name.
    pub schema: &'static str,
    /// Accepted media types. Error messages name the first one.
    pub media: &'static [&'static str],
    /// Another media type that is accepted, with its schema.
    pub other: Option<(&'static str, &'static str)>,
    /// Whether the body is optional.
    pub optional: bool,
}

/// A successful answer.
#[derive(Debug, Clone)]
pub struct Response {
    /// Its status.
    pub status: u16,
    /// What the status means on this route.
    pub means: &'static str,
    /// Media type and schema of its body, if it has one.
    pub body: Option<(&'static str, &'static str)>,
    /// Headers it has in addition to those of every answer, by name.
    pub headers: Vec<&'static str>,
}

/// A route.
#[derive(Debug, Clone)]
pub struct Route {
    /// `get`, `post`, ...
    pub method: &'static str,
    /// As in the router.
    pub path: &'static str,
    /// The `operationId`: unique in the document, and the method name in a generated client.
    pub id: &'static str,
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// Further details.
    pub description: &'static str,
    /// Who may call.
    pub policy: Policy,
    /// Query and header parameters, by name.
    pub parameters: Vec<&'static str>,
    /// What it reads.
    pub body: Option<Body>,
    /// What it answers.
    pub answers: Vec<Response>,
    /// Refusals that do not follow from the other fields, each with its reason.
    pub refusals: Vec<(u16, &'static str)>,
}

/// A GET route.
pub fn get(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("get", path, id, policy)
}

/// A POST route.
pub fn post(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("post", path, id, policy)
}

/// A PUT route.
pub fn put(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("put", path, id, policy)
}

/// A PATCH route.
pub fn patch(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("patch", path, id, policy)
}

/// A DELETE route.
pub fn delete(path: &'static str, id: &'static str, policy: Policy) -> Route {
    route("delete", path, id, policy)
}

fn route(method: &'static str, path: &'static str, id: &'static str, policy: Policy) -> Route {
    Route {
        method,
        path,
        id,
        summary: "",
        description: "",
        policy,
        parameters: Vec::new(),
        body: None,
        answers: Vec::new(),
        refusals: Vec::new(),
    }
}

impl Route {
    /// What it does, in one sentence.
    pub fn does(self, summary: &'static str) -> Self {
        Self { summary, ..self }
    }

    /// Further details.
    pub fn note(self, description: &'static str) -> Self {
        Self { description, ..self }
    }

    /// Query and header parameters it takes, by name.
    pub fn takes(mut self, parameters: &[&'static str]) -> Self {
        self.parameters.extend(parameters);
        self
    }

    /// Stores its answer for an `Idempotency-Key`.
    pub fn idempotency_key(self) -> Self {
        self.takes(&["IdempotencyKey"])
    }

    /// Reads a JSON body.
    pub fn reads(self, schema: &'static str) -> Self {
        self.reads_as(&["application/json"], schema)
    }

    /// Reads a body of one of these media types.
    pub fn reads_as(self, media: &'static [&'static str], schema: &'static str) -> Self {
        Self { body: Some(Body { schema, media, other: None, optional: false }), ..self }
    }

    /// Reads a body of this media type too.
    pub fn or_reads_as(mut self, media: &'static str, schema: &'static str) -> Self {
        if let Some(body) = &mut self.body {
            body.other = Some((media, schema));
        }
        self
    }

    /// Reads a JSON body if there is one.
    pub fn may_read(self, schema: &'static str) -> Self {
        Self { body: Some(Body { schema, media: &["application/json"], other: None, optional: true }), ..self }
    }

    /// Answers JSON.
    pub fn answers(self, status: u16, schema: &'static str, means: &'static str) -> Self {
        self.answers_as("application/json", status, schema, means)
    }

    /// Answers a body of this media type.
    pub fn answers_as(mut self, media: &'static str, status: u16, schema: &'static str, means: &'static str) -> Self {
        self.answers.push(Response { status, means, body: Some((media, schema)), headers: Vec::new() });
        self
    }

    /// Answers without a body.
    pub fn answers_empty(mut self, status: u16, means: &'static str) -> Self {
        self.answers.push(Response { status, means, body: None, headers: Vec::new() });
        self
    }

    /// The answer named last has these headers.
    pub fn with(mut self, headers: &[&'static str]) -> Self {
        if let Some(answer) = self.answers.last_mut() {
            answer.headers.extend(headers);
        }
        self
    }

    /// Refuses for a reason that does not follow from the policy and the inputs.
    pub fn refuses(mut self, status: u16, reason: &'static str) -> Self {
        self.refusals.push((status, reason));
        self
    }

    /// Answers 501 to everybody.
    pub fn not_built(self) -> Self {
        self.refuses(501, "This route is part of the design and not built yet.")
    }

    /// Whether it is built.
    pub fn is_built(&self) -> bool {
        !self.answers.is_empty()
    }

    /// Whether its cost is withheld where it would reveal something the caller may not see: whether a relation leads to a record,
    /// whether records point or pointed at the one to be deleted, whether another record holds or held a unique value, how many
    /// records were deleted in the list or changed outside it, the size of a hidden field, or what is stored for an address.
    pub fn withholds_cost(&self) -> bool {
        let withheld = ["/records", "/schema", "/v1/batch", "/v1/changes", "/v1/auth/signup", "/v1/auth/verify"];
        withheld.iter().any(|part| self.path.contains(part))
    }

    /// Whether it takes this parameter, by its name in the table: `IfMatch`, `IfNoneMatch`, `IdempotencyKey`, or one of the
    /// query.
    pub fn takes_parameter(&self, name: &str) -> bool {
        self.parameters.contains(&name)
    }

    /// Whether it takes parameters in the query.
    pub fn takes_query(&self) -> bool {
        self.parameters.iter().any(|name| !HEADERS.contains(name))
    }

    /// Whether it only reads.
    pub fn is_safe(&self) -> bool {
        self.method == "get"
    }
}
