//! Tables of requests and how they are judged.

use super::*;

fn access() -> Access {
    Access {
        hosts: vec!["Calc.Example.com".parse().unwrap()],
        origins: vec!["https://App.example:443/".parse().unwrap(), "http://127.0.0.1:3000".parse().unwrap()],
    }
}

fn judge(method: &Method, uri: &str, lines: &[(&'static str, &str)], for_page: bool) -> Result<(), Denial> {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
    }
    access().judge(method, &uri.parse().unwrap(), &headers, for_page)
}

#[test]
fn browsers_are_answered_under_names_that_no_other_site_can_own() {
    for (host, allowed) in [
        ("localhost", true),
        ("localhost:8080", true),
        ("LocalHost.:8080", true),
        ("calc.localhost", true),
        ("127.0.0.1:8080", true),
        ("192.168.1.20", true),
        ("[::1]:8080", true),
        ("[FE80::1]", true),
        ("calc.example.com", true),
        ("CALC.example.com.:443", true),
        ("evil.example:8080", false),
        ("localhost.evil.example", false),
        ("notlocalhost", false),
        ("127.0.0.1.evil.example", false),
        ("127.0.0.1.nip.io", false),
        ("127.1", false),
        ("0x7f000001", false),
        ("2130706433", false),
        ("calc.example.com.evil.example", false),
        ("sub.calc.example.com", false),
        ("leader:8080", false),
        ("localhost..", false),
        ("", false),
        (":8080", false),
        (".", false),
        ("localhost@evil.example", false),
        ("evil.example@localhost", false),
        ("localhost:8080@evil.example", false),
        ("localhost/x", false),
        ("localhost:80x", false),
        ("localhost, evil.example", false),
        ("[::1", false),
        ("[evil.example]", false),
        ("::1", false),
    ] {
        for (what, lines, for_page) in [
            ("a call with Origin", vec![("host", host), ("origin", "http://a.example")], false),
            ("a call with fetch metadata", vec![("host", host), ("sec-fetch-site", "same-origin")], false),
            ("a request for the page", vec![("host", host)], true),
        ] {
            let method = if for_page { Method::GET } else { Method::POST };
            let answer = judge(&method, "/x", &lines, for_page);
            assert_eq!(answer.is_ok(), allowed, "{what} with Host {host:?}: {answer:?}");
            assert!(judge(&method, "/x", &lines, for_page).is_ok() == allowed);
        }
        let native = judge(&Method::POST, "/x", &[("host", host)], false);
        assert_eq!(native, Ok(()), "a program other than a browser, with Host {host:?}");
    }
}

#[test]
fn the_uri_and_every_host_header_must_name_the_leader() {
    for (uri, hosts, allowed) in [
        ("http://localhost:8080/x", vec![], true),
        ("http://localhost:8080/x", vec!["localhost:8080"], true),
        ("http://evil.example/x", vec!["localhost"], false),
        ("http://localhost/x", vec!["evil.example"], false),
        ("http://user@localhost/x", vec![], false),
        ("/x", vec!["localhost", "evil.example"], false),
        ("/x", vec!["evil.example", "localhost"], false),
        ("/x", vec![], false),
    ] {
        let lines: Vec<_> = hosts.iter().map(|host| ("host", *host)).collect();
        let answer = judge(&Method::GET, uri, &lines, true);
        assert_eq!(answer.is_ok(), allowed, "{uri} with {hosts:?}: {answer:?}");
    }
}

#[test]
fn calls_come_from_the_leaders_own_page_or_from_sites_that_are_allowed() {
    const OWN: (&str, &str) = ("host", "127.0.0.1:8080");
    for (lines, allowed) in [
        (vec![("origin", "http://127.0.0.1:8080"), ("sec-fetch-site", "same-origin")], true),
        // Behind a proxy that sets its own Host. Browsers send fetch metadata to https and loopback URLs only.
        (vec![("origin", "https://calc.public.example"), ("sec-fetch-site", "same-origin")], true),
        (vec![("origin", "http://calc.public.example")], true),
        (vec![("sec-fetch-site", "none")], true),
        (vec![("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")], false),
        (vec![("origin", "http://localhost:3000"), ("sec-fetch-site", "same-site")], false),
        (vec![("origin", "null"), ("sec-fetch-site", "cross-site")], false),
        (vec![("sec-fetch-site", "cross-site")], false),
        (vec![("sec-fetch-site", "something-new")], false),
        (vec![("sec-fetch-site", "same-origin"), ("sec-fetch-site", "cross-site")], false),
        (vec![("origin", "https://app.example"), ("sec-fetch-site", "cross-site")], true),
        (vec![("origin", "http://127.0.0.1:3000"), ("sec-fetch-site", "same-site")], true),
        (vec![("origin", "https://app.example:444"), ("sec-fetch-site", "cross-site")], false),
        (vec![("origin", "http://app.example"), ("sec-fetch-site", "cross-site")], false),
        (vec![("origin", "https://app.example"), ("origin", "https://evil.example")], false),
    ] {
        let answer = judge(&Method::POST, "/x", &[&[OWN], lines.as_slice()].concat(), false);
        assert_eq!(answer.is_ok(), allowed, "{lines:?}: {answer:?}");
    }
}

#[test]
fn the_flags_accept_every_name_that_a_denial_suggests() {
    for origin in
        ["https://evil.example", "http://[::1]:3000", "null", "", "file://", "https://a b", "\u{fc}", "https://x@y"]
    {
        let lines = [("host", "127.0.0.1"), ("origin", origin), ("sec-fetch-site", "cross-site")];
        match judge(&Method::POST, "/x", &lines, false).unwrap_err() {
            Denial::Origin(named) => assert!(named.parse::<Origin>().is_ok(), "{named}"),
            refusal => assert_eq!(refusal, Denial::NoOrigin, "{origin}"),
        }
    }
    for host in ["evil.example", "evil.example.", "[fe80::1%25eth0]", "[::1]x", "a b", "h\u{fc}tte.example", "-_.-"] {
        match judge(&Method::GET, "/", &[("host", host)], true).unwrap_err() {
            Denial::Host(named) => assert!(named.parse::<HostName>().is_ok(), "{named}"),
            refusal => assert_eq!(refusal, Denial::NoHost, "{host}"),
        }
    }
}

#[test]
fn only_preflights_of_allowed_sites_succeed() {
    for (origin, allowed) in [
        ("https://app.example", true),
        ("https://evil.example", false),
        ("http://127.0.0.1:8080", false),
        ("null", false),
    ] {
        let answer = judge(&Method::OPTIONS, "/x", &[("host", "localhost"), ("origin", origin)], false);
        assert_eq!(answer.is_ok(), allowed, "{origin}: {answer:?}");
    }
}

#[test]
fn a_link_on_another_site_may_lead_to_the_page() {
    let lines = [("host", "localhost:8080"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")];
    assert_eq!(judge(&Method::GET, "/", &lines, true), Ok(()));
}

#[test]
fn denials_name_the_flag_and_shorten_long_names() {
    let long = format!("{}.example", "a".repeat(200));
    let Err(refusal) = judge(&Method::GET, "/", &[("host", &long)], true) else { panic!("allowed") };
    assert!(refusal.to_string().contains("--host aaa") && refusal.to_string().len() < 500, "{refusal}");
    let lines = [("host", "localhost"), ("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")];
    let Err(refusal) = judge(&Method::POST, "/", &lines, false) else { panic!("allowed") };
    assert!(refusal.to_string().contains("`--allow-origin https://evil.example`"), "{refusal}");
}

#[test]
fn host_names_and_origins_are_parsed_as_browsers_send_them() {
    for (text, valid) in [
        ("calc.example.com", true),
        ("Calc", true),
        ("calc.example.com.", true),
        ("http://calc.example.com", false),
        ("calc.example.com:80", false),
        ("calc.example.com/calc", false),
        ("*.example.com", false),
        ("", false),
    ] {
        assert_eq!(text.parse::<HostName>().is_ok(), valid, "{text:?}");
    }
    for (text, origin) in [
        ("https://App.example", Some("https://app.example")),
        ("https://app.example:443/", Some("https://app.example")),
        ("http://app.example:443", Some("http://app.example:443")),
        ("http://[::1]:3000", Some("http://[::1]:3000")),
        ("app.example", None),
        ("null", None),
        ("*", None),
        ("https://app.example/path", None),
        ("https://user@app.example", None),
        ("https://", None),
    ] {
        let parsed = text.parse::<Origin>().ok();
        assert_eq!(parsed.as_ref().map(|parsed| parsed.0.to_str().unwrap()), origin, "{text:?}");
    }
}
