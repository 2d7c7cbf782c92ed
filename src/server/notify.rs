//! A word to the service manager, if one listens: a datagram to the socket that `NOTIFY_SOCKET` names.
//! Spec: sd_notify(3), "Notes".

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The server listens.
pub const READY: &str = "READY=1";
/// The server is on its way out.
pub const STOPPING: &str = "STOPPING=1";

/// Tells it; without a manager nothing happens. Whether it was heard is not known.
pub fn notify(state: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = send(&socket, state) {
        log::warn!("the service manager was not told {state}: {error}");
    }
}

fn send(socket: &OsStr, state: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // A name in the abstract namespace.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let from = UnixDatagram::unbound()?;
    from.set_nonblocking(true)?;
    from.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manager_hears_it_by_path_and_by_name() {
        let path = std::env::temp_dir().join(format!("srs-shard-notify-{}", std::process::id()));
        let name = format!("srs-shard-notify-{}", std::process::id());
        let by_path = UnixDatagram::bind(&path).expect("a socket");
        let abstracted = SocketAddr::from_abstract_name(&name).expect("a name");
        let by_name = UnixDatagram::bind_addr(&abstracted).expect("a socket");
        send(path.as_os_str(), READY).expect("heard");
        send(OsStr::new(&format!("@{name}")), STOPPING).expect("heard");
        std::fs::remove_file(&path).expect("our own socket");
        let heard = |at: UnixDatagram| {
            let mut bytes = [0; 64];
            let length = at.recv(&mut bytes).expect("a datagram");
            String::from_utf8_lossy(&bytes[..length]).into_owned()
        };
        assert_eq!((heard(by_path), heard(by_name)), (READY.to_owned(), STOPPING.to_owned()));
        assert!(send(path.as_os_str(), READY).is_err(), "nobody there");
    }
}
