//! No foreign page gets in. A page can make the browser send requests to any loopback port: under its own origin, or under a
//! name of its own that it has pointed at 127.0.0.1 meanwhile. Browsers tell both, and no script can keep them from it.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// What is said to a request that came under another name.
pub const REFUSAL: &str = "this address answers to localhost, 127.0.0.1 and [::1] only\n";

/// The names of this machine. Any port will do: behind a forwarded one it is another.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Whether a request was made to this machine by one of its own names.
pub fn is_this_machine(headers: &HeaderMap, uri: &Uri) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok().and_then(|host| host.parse::<Authority>().ok()),
        _ => None,
    };
    let is_named = |authority: &Authority| {
        let is_bare = !authority.as_str().contains('@');
        is_bare && NAMES.iter().any(|name| authority.host().eq_ignore_ascii_case(name))
    };
    host.as_ref().is_some_and(is_named) && uri.authority().is_none_or(is_named)
}

/// Whether a browser sent this on behalf of a page. Programs send none of these headers, and browsers never omit them all where
/// a page could do harm.
pub fn is_from_a_page(headers: &HeaderMap) -> bool {
    let mut names = headers.keys().map(|name| name.as_str());
    names.any(|name| name == "origin" || name.starts_with("sec-fetch-"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn is_let_in(hosts: &[&str], uri: &str) -> bool {
        let request = hosts.iter().fold(Request::get(uri), |request, host| request.header("host", *host));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        is_this_machine(&parts.headers, &parts.uri)
    }

    #[test]
    fn this_machine_has_three_names_and_no_other_will_do() {
        for host in ["localhost", "localhost:9000", "LocalHost:9000", "127.0.0.1:9000", "[::1]:9000", "[::1]"] {
            assert!(is_let_in(&[host], "/"), "{host}");
        }
        let foreign = [
            "",
            "evil.example",
            "evil.example:9000",
            "localhost.evil.example",
            "127.0.0.1.evil.example:9000",
            "localhost@evil.example",
            "evil@localhost",
            "localhost.",
            "0.0.0.0:9000",
            "127.0.0.2:9000",
            "[::]:9000",
            "2130706433",
            "localhost, evil.example",
        ];
        for host in foreign {
            assert!(!is_let_in(&[host], "/"), "{host}");
        }
        assert!(!is_let_in(&[], "/"), "a browser always says whom it asks");
        assert!(!is_let_in(&["localhost", "evil.example"], "/"));
        assert!(!is_let_in(&["localhost"], "http://evil.example/"));
        assert!(is_let_in(&["localhost:1"], "http://127.0.0.1:1/"));
    }

    #[test]
    fn a_page_is_known_by_what_its_browser_adds() {
        for header in ["origin", "sec-fetch-site", "Sec-Fetch-Mode", "sec-fetch-dest", "sec-fetch-user"] {
            let request = Request::get("/").header(header, "null").body(()).unwrap();
            assert!(is_from_a_page(request.headers()), "{header}");
        }
        let program = Request::get("/").header("user-agent", "aws-cli").header("accept", "*/*").body(()).unwrap();
        assert!(!is_from_a_page(program.headers()));
    }
}
