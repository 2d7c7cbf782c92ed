//! Goal: behind an RTMP proxy the API and the log tell the client's address, not the proxy's.
//! Method: our own client, with the header that such a proxy sends before the handshake.

use crate::support::player::connect_behind;
use crate::support::server::Server;
use crate::support::wait_for;
use srs_shard::rtmp::client::Role;

#[test]
fn the_address_that_a_proxy_names_is_shown() {
    let server = Server::with_shards(2);
    let header = [0xf3, 0, 4, 203, 0, 113, 7];
    let connection = connect_behind(&header, &server.rtmp("s"), Role::PublishFmle).expect("granted");
    let addresses = || {
        let clients = server.api("/api/v1/clients/");
        let all = clients["clients"].as_array().expect("a list").iter();
        all.map(|client| client["ip"].as_str().expect("an address").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(addresses(), ["203.0.113.7"]);
    drop(connection);
    wait_for("its line in the log", || server.log().contains(" for 203.0.113.7 fmle-publish").then_some(()));
}
