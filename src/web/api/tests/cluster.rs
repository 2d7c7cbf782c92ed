//! `/api/v1/clusters`.

use super::*;

#[test]
fn a_stream_is_located_here_or_nowhere() {
    let mut f = Fixture::new();
    let locate = |f: &Fixture, target: &str, headers: &str| match f
        .route(&request(&format!("POST /api/v1/clusters?{target}"), headers))
    {
        ApiCall::Locate(asked) => asked,
        other => panic!("{target}: {other:?}"),
    };
    let host = "Host: Api.example:1985\r\n";
    let asked = locate(&f, "vhost=any&ip=10.0.0.1&app=live&stream=a&coworker=nat.example:2985", host);
    assert_eq!((&*asked.vhost, &*asked.app, &*asked.stream), (DEFAULT_VHOST, "live", "a"));
    let query = r#""query":{"ip":"10.0.0.1","vhost":"any","app":"live","stream":"a"}"#;
    let missing = format!(r#"{{"code":0,"data":{{{query},"origin":null}}}}"#);
    assert_eq!(text(&located(&asked, Ok(false))), missing);
    let origin = r#"{"ip":"nat.example","port":1936,"vhost":"__defaultVhost__","api":"nat.example:1985","routers":["nat.example:1985"]}"#;
    let expected = format!(r#"{{"code":0,"data":{{{query},"origin":{origin}}}}}"#);
    assert_eq!(text(&located(&asked, Ok(true))), expected);
    let silent = located(&asked, Err(3));
    assert_eq!((silent.status, text(&silent).as_str()), (503, r#"{"code":503,"unanswered":[3]}"#));

    let ip = |f: &Fixture, target: &str, headers: &str| {
        let told = text(&located(&locate(f, target, headers), Ok(true)));
        let told: serde_json::Value = serde_json::from_str(&told).unwrap();
        let origin = &told["data"]["origin"];
        format!("{} {}", origin["ip"].as_str().unwrap(), origin["api"].as_str().unwrap())
    };
    assert_eq!(ip(&f, "stream=a", host), "api.example api.example:1985");
    assert_eq!(ip(&f, "coworker=%3Cx%3E", host), "api.example api.example:1985", "that is no host");
    assert_eq!(ip(&f, "coworker=[::2]:1985", host), "::2 [::2]:1985");
    f.rtmp_at = "[2001:db8::1]:1935".parse().ok();
    assert_eq!(ip(&f, "coworker=nat", host), "2001:db8::1 [2001:db8::1]:1985", "an address of its own");
    f.api_at = "10.0.0.9:1985".parse().ok();
    assert_eq!(ip(&f, "coworker=nat", host), "2001:db8::1 10.0.0.9:1985");
    f.rtmp_at = "127.0.0.1:1935".parse().ok();
    assert_eq!(ip(&f, "coworker=nat:1", host), "nat 10.0.0.9:1985", "loopback is everyone's own");
    let disabled = f.answer(&get("/api/v1/clusters?vhost=off&app=live&stream=a"));
    assert!(text(&disabled).ends_with(r#""origin":null}}"#));
}
