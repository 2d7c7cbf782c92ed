//! Goal: who is refused is told so, in the word that the log has for it.
//! Method: our own client asks for what it may not have.

use crate::support::http::get;
use crate::support::player::try_connect;
use crate::support::server::Setup;
use crate::support::wait_for;
use srs_shard::rtmp::client::Role;

#[test]
fn a_disabled_vhost_refuses_over_rtmp_and_http_alike() {
    let server = Setup::new(2).tables("[vhost.\"off.example\"]\nenabled = false\n").start();
    let url = server.rtmp("s?vhost=OFF.example");
    for role in [Role::Play, Role::PublishFlash, Role::PublishFmle] {
        let refused = try_connect(&url, role).expect_err("refused");
        assert!(refused.contains("vhost_unknown"), "{role:?}: {refused}");
    }
    // The default vhost would have the viewer wait.
    assert_eq!(get(server.http_at(), "/live/s.flv?vhost=off.example").status, 404);
    wait_for("the word in the log", || server.log().contains("vhost_unknown").then_some(()));
}
