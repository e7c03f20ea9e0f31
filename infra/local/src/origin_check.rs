//! Protection against web pages. A page can make the browser send requests to any loopback port, from its own origin or, with
//! DNS rebinding, under its own host name. Browsers send both in headers that scripts cannot change.

use axum::http::uri::Authority;
use axum::http::{HeaderMap, Uri, header};

/// The response to a request with a foreign `Host`.
pub const FORBIDDEN_HOST: &str = "this address answers to localhost, 127.0.0.1 and [::1] only\n";

/// The accepted host names. The port is not checked: it differs behind a forwarded port.
const NAMES: [&str; 3] = ["localhost", "127.0.0.1", "[::1]"];

/// Whether the request's `Host` is one of the names of this machine.
pub fn is_local_host(headers: &HeaderMap, uri: &Uri) -> bool {
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

/// Whether a browser sent the request for a page. Programs do not send these headers; browsers send at least one of them with
/// every request that could do harm.
pub fn is_from_browser(headers: &HeaderMap) -> bool {
    let mut names = headers.keys().map(|name| name.as_str());
    names.any(|name| name == "origin" || name.starts_with("sec-fetch-"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn is_accepted(hosts: &[&str], uri: &str) -> bool {
        let request = hosts.iter().fold(Request::get(uri), |request, host| request.header("host", *host));
        let (parts, ()) = request.body(()).unwrap().into_parts();
        is_local_host(&parts.headers, &parts.uri)
    }

    #[test]
    fn only_the_three_local_host_names_are_accepted() {
        for host in ["localhost", "localhost:9000", "LocalHost:9000", "127.0.0.1:9000", "[::1]:9000", "[::1]"] {
            assert!(is_accepted(&[host], "/"), "{host}");
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
            assert!(!is_accepted(&[host], "/"), "{host}");
        }
        assert!(!is_accepted(&[], "/"), "a browser always sends Host");
        assert!(!is_accepted(&["localhost", "evil.example"], "/"));
        assert!(!is_accepted(&["localhost"], "http://evil.example/"));
        assert!(is_accepted(&["localhost:1"], "http://127.0.0.1:1/"));
    }

    #[test]
    fn a_request_of_a_page_is_recognized_by_its_headers() {
        for header in ["origin", "sec-fetch-site", "Sec-Fetch-Mode", "sec-fetch-dest", "sec-fetch-user"] {
            let request = Request::get("/").header(header, "null").body(()).unwrap();
            assert!(is_from_browser(request.headers()), "{header}");
        }
        let program = Request::get("/").header("user-agent", "aws-cli").header("accept", "*/*").body(()).unwrap();
        assert!(!is_from_browser(program.headers()));
    }
}
