//! The RTMP handshake, both ends: simple (Adobe RTMP §5.2) and complex.
//!
//! The complex form is in no public specification; what is known comes from the clients and servers that
//! speak it. C1 and S1 carry a digest block and a key block of 764 bytes each behind 8 bytes of time and
//! version, in one of two orders ([`Schema`]). The digest is an HMAC-SHA256 over the other 1504 bytes. C2 and
//! S2 end in an HMAC whose key is derived from the digest of the other side. Flash Player plays H.264 only
//! after a complex handshake; ffmpeg checks the server's digests. The key blocks are random: they serve
//! RTMPE, which is not offered.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::net::Ipv4Addr;

/// Length of C1, C2, S1 and S2.
pub const PACKET_BYTES: usize = 1536;
/// Most bytes a proxy may put in front of C0 (SRS: error 2054).
pub const MAX_PROXY_HEADER_BYTES: usize = 1024;

const VERSION: u8 = 3;
const PROXY_MARK: u8 = 0xf3;
const DIGEST_BYTES: usize = 32;
const BLOCK_BYTES: usize = 764;
/// The version field of a complex S1, as SRS sends it.
const SERVER_VERSION: [u8; 4] = [0x01, 0x00, 0x05, 0x04];
/// The version field of a complex C1, as SRS sends it when it is the client.
const CLIENT_VERSION: [u8; 4] = [0x80, 0x00, 0x07, 0x02];

const CLIENT_KEY: &[u8; 62] = b"Genuine Adobe Flash Player 001\
    \xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";
const SERVER_KEY: &[u8; 68] = b"Genuine Adobe Flash Media Server 001\
    \xf0\xee\xc2\x4a\x80\x68\xbe\xe8\x2e\x00\xd0\xd1\x02\x9e\x7e\x57\
    \x6e\xec\x5d\x2d\x29\x80\x6f\xab\x93\xb8\xe6\x36\xcf\xeb\x31\xae";
/// Digests of C1 and S1 use only the text part of the keys.
const CLIENT_KEY_TEXT: usize = 30;
const SERVER_KEY_TEXT: usize = 36;

type Packet = [u8; PACKET_BYTES];

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// The first byte is no version that is spoken here (6 would be RTMPE, a letter HTTP).
    #[error("handshake: version {0} instead of 3")]
    Version(u8),
    /// A proxy header above [`MAX_PROXY_HEADER_BYTES`].
    #[error("handshake: proxy header of {0} bytes, more than {MAX_PROXY_HEADER_BYTES}")]
    ProxyHeader(usize),
}

/// Which of the two blocks comes first in a complex packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schema {
    /// Schema 0: the key block, then the digest block.
    KeyFirst,
    /// Schema 1: the digest block, then the key block.
    DigestFirst,
}

/// What was agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Agreed {
    /// The schema of the complex handshake, `None` after a simple one.
    pub complex: Option<Schema>,
    /// The client's address as a proxy in front of this server gave it. Unverified.
    pub proxied_ip: Option<Ipv4Addr>,
}

/// Either end's part.
pub trait Handshake: std::fmt::Debug + Send {
    /// Takes bytes from the front of `input`, appends what is to be sent to `out`. `Some` when the handshake
    /// is over; what is left in `input` then is the first chunk.
    fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Agreed>, HandshakeError>;
}

/// The server's end. Feed it until it says what was agreed on; it is worth nothing after.
#[derive(Debug)]
pub struct ServerHandshake {
    seed: u64,
    /// Bytes of the part being read.
    gathered: Vec<u8>,
    agreed: Agreed,
    part: ServerPart,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ServerPart {
    First,
    ProxyHeader,
    C0C1,
    /// C2 is skipped, not verified, as everywhere; this many bytes are missing.
    C2(usize),
}

impl ServerHandshake {
    /// A handshake whose random bytes come from `seed`.
    pub fn new(seed: u64) -> ServerHandshake {
        let agreed = Agreed { complex: None, proxied_ip: None };
        ServerHandshake { seed, gathered: Vec::new(), agreed, part: ServerPart::First }
    }
}

impl Handshake for ServerHandshake {
    fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Agreed>, HandshakeError> {
        loop {
            match self.part {
                ServerPart::First => match input.first() {
                    None => return Ok(None),
                    Some(&PROXY_MARK) if self.agreed.proxied_ip.is_none() => {
                        self.part = ServerPart::ProxyHeader;
                    }
                    Some(&VERSION) => self.part = ServerPart::C0C1,
                    Some(&other) => return Err(HandshakeError::Version(other)),
                },
                ServerPart::ProxyHeader => {
                    if !gather(&mut self.gathered, input, 3) {
                        return Ok(None);
                    }
                    let length = match self.gathered[..] {
                        [_, high, low, ..] => usize::from(u16::from_be_bytes([high, low])),
                        _ => 0,
                    };
                    if length > MAX_PROXY_HEADER_BYTES {
                        return Err(HandshakeError::ProxyHeader(length));
                    }
                    if !gather(&mut self.gathered, input, 3 + length) {
                        return Ok(None);
                    }
                    let ip = match self.gathered[3..] {
                        [a, b, c, d, ..] => Ipv4Addr::new(a, b, c, d),
                        _ => Ipv4Addr::UNSPECIFIED, // still only one header: no loop of them
                    };
                    self.agreed.proxied_ip = Some(ip);
                    self.gathered.clear();
                    self.part = ServerPart::First;
                }
                ServerPart::C0C1 => {
                    if !gather(&mut self.gathered, input, 1 + PACKET_BYTES) {
                        return Ok(None);
                    }
                    let mut c1 = [0; PACKET_BYTES];
                    c1.copy_from_slice(&self.gathered[1..]);
                    self.gathered = Vec::new();
                    self.agreed.complex = answer(&c1, self.seed, out);
                    self.part = ServerPart::C2(PACKET_BYTES);
                }
                ServerPart::C2(missing) => {
                    let here = missing.min(input.len());
                    *input = &input[here..];
                    self.part = ServerPart::C2(missing - here);
                    if here < missing {
                        return Ok(None);
                    }
                    self.agreed.proxied_ip = self.agreed.proxied_ip.filter(|ip| !ip.is_unspecified());
                    return Ok(Some(self.agreed));
                }
            }
        }
    }
}

/// Appends S0, S1 and S2 for `c1`.
fn answer(c1: &Packet, seed: u64, out: &mut Vec<u8>) -> Option<Schema> {
    let mut random = Noise(seed);
    let mut s1 = [0; PACKET_BYTES];
    random.fill(&mut s1[4..]); // the time stays 0, which §5.2.3 allows
    out.reserve(1 + 2 * PACKET_BYTES);
    out.push(VERSION);
    let found = find_digest(c1, &CLIENT_KEY[..CLIENT_KEY_TEXT]);
    match found {
        Some((schema, client_digest)) => {
            s1[4..8].copy_from_slice(&SERVER_VERSION);
            put_digest(&mut s1, schema, &SERVER_KEY[..SERVER_KEY_TEXT]);
            out.extend_from_slice(&s1);
            out.extend_from_slice(&signed(&mut random, SERVER_KEY, &client_digest));
        }
        None => {
            s1[4..8].copy_from_slice(&c1[..4]);
            out.extend_from_slice(&s1);
            out.extend_from_slice(c1);
        }
    }
    found.map(|(schema, _)| schema)
}

/// The client's end: sends a complex C1 that simple servers take for a simple one.
#[derive(Debug)]
pub struct ClientHandshake {
    seed: u64,
    gathered: Vec<u8>,
}

impl ClientHandshake {
    /// Begins: appends C0 and C1 to `out`.
    pub fn new(seed: u64, out: &mut Vec<u8>) -> ClientHandshake {
        let mut c1 = [0; PACKET_BYTES];
        Noise(seed).fill(&mut c1[8..]);
        c1[4..8].copy_from_slice(&CLIENT_VERSION);
        put_digest(&mut c1, Schema::DigestFirst, &CLIENT_KEY[..CLIENT_KEY_TEXT]);
        out.push(VERSION);
        out.extend_from_slice(&c1);
        ClientHandshake { seed, gathered: Vec::new() }
    }
}

impl Handshake for ClientHandshake {
    /// Over when S0, S1 and S2 are there and C2 is in `out`. S1 and S2 are not verified: they tell nothing
    /// about who the server is.
    fn feed(&mut self, input: &mut &[u8], out: &mut Vec<u8>) -> Result<Option<Agreed>, HandshakeError> {
        if let (true, Some(&version)) = (self.gathered.is_empty(), input.first())
            && version != VERSION
        {
            return Err(HandshakeError::Version(version));
        }
        if !gather(&mut self.gathered, input, 1 + 2 * PACKET_BYTES) {
            return Ok(None);
        }
        let mut s1 = [0; PACKET_BYTES];
        s1.copy_from_slice(&self.gathered[1..1 + PACKET_BYTES]);
        self.gathered = Vec::new();
        let found = find_digest(&s1, &SERVER_KEY[..SERVER_KEY_TEXT]);
        match found {
            Some((_, digest)) => {
                // Other random bytes than those of C1.
                let mut random = Noise(self.seed ^ 0x5851_f42d_4c95_7f2d);
                out.extend_from_slice(&signed(&mut random, CLIENT_KEY, &digest));
            }
            None => out.extend_from_slice(&s1),
        }
        Ok(Some(Agreed { complex: found.map(|(schema, _)| schema), proxied_ip: None }))
    }
}

/// Fills `gathered` up to `want` bytes; whether it is full.
fn gather(gathered: &mut Vec<u8>, input: &mut &[u8], want: usize) -> bool {
    let here = want.saturating_sub(gathered.len()).min(input.len());
    let (taken, rest) = input.split_at(here);
    gathered.extend_from_slice(taken);
    *input = rest;
    gathered.len() >= want
}

/// A packet of random bytes that ends in the proof that its sender has seen `digest`.
fn signed(random: &mut Noise, key: &[u8], digest: &[u8; DIGEST_BYTES]) -> Packet {
    let mut packet = [0; PACKET_BYTES];
    let (noise, proof) = packet.split_at_mut(PACKET_BYTES - DIGEST_BYTES);
    random.fill(noise);
    proof.copy_from_slice(&hmac(&hmac(key, &[digest]), &[noise]));
    packet
}

/// Where the digest of a packet stands.
fn digest_at(packet: &Packet, schema: Schema) -> usize {
    let block = match schema {
        Schema::KeyFirst => 8 + BLOCK_BYTES,
        Schema::DigestFirst => 8,
    };
    let offset: usize = packet[block..block + 4].iter().map(|b| usize::from(*b)).sum();
    block + 4 + offset % (BLOCK_BYTES - 4 - DIGEST_BYTES)
}

fn digest_of(packet: &Packet, at: usize, key: &[u8]) -> [u8; DIGEST_BYTES] {
    hmac(key, &[&packet[..at], &packet[at + DIGEST_BYTES..]])
}

fn put_digest(packet: &mut Packet, schema: Schema, key: &[u8]) {
    let at = digest_at(packet, schema);
    let digest = digest_of(packet, at, key);
    packet[at..at + DIGEST_BYTES].copy_from_slice(&digest);
}

fn find_digest(packet: &Packet, key: &[u8]) -> Option<(Schema, [u8; DIGEST_BYTES])> {
    // What ffmpeg and librtmp send is tried first.
    [Schema::DigestFirst, Schema::KeyFirst].into_iter().find_map(|schema| {
        let at = digest_at(packet, schema);
        let digest = digest_of(packet, at, key);
        (packet[at..at + DIGEST_BYTES] == digest).then_some((schema, digest))
    })
}

fn hmac(key: &[u8], parts: &[&[u8]]) -> [u8; DIGEST_BYTES] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length (RFC 2104 §2)");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// SplitMix64. These bytes keep no secret; they only have to differ between connections.
struct Noise(u64);

impl Noise {
    fn fill(&mut self, bytes: &mut [u8]) {
        for eight in bytes.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            eight.copy_from_slice(&z.to_le_bytes()[..eight.len()]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complex_c0c1(schema: Schema, seed: u64) -> Vec<u8> {
        let mut c1 = [0; PACKET_BYTES];
        Noise(seed).fill(&mut c1);
        put_digest(&mut c1, schema, &CLIENT_KEY[..CLIENT_KEY_TEXT]);
        [&[VERSION][..], &c1].concat()
    }

    /// What was sent, agreed on, and left over.
    type Served = Result<(Vec<u8>, Option<Agreed>, Vec<u8>), HandshakeError>;

    /// Runs a server over `input` in pieces.
    fn serve(input: &[u8], piece: usize) -> Served {
        let (mut server, mut out, mut left) = (ServerHandshake::new(7), Vec::new(), Vec::new());
        let mut agreed = None;
        for mut bytes in input.chunks(piece) {
            if agreed.is_none() {
                agreed = server.feed(&mut bytes, &mut out)?;
            }
            left.extend_from_slice(bytes);
        }
        Ok((out, agreed, left))
    }

    #[test]
    fn both_ends_agree_on_the_complex_form_and_prove_it() {
        let mut to_server = Vec::new();
        let mut client = ClientHandshake::new(1, &mut to_server);
        let mut server = ServerHandshake::new(2);
        let mut to_client = Vec::new();
        assert_eq!(server.feed(&mut &to_server[..], &mut to_client), Ok(None));
        let mut c2 = Vec::new();
        let agreed = client.feed(&mut &to_client[..], &mut c2).unwrap();
        assert_eq!(agreed, Some(Agreed { complex: Some(Schema::DigestFirst), proxied_ip: None }));
        c2.push(0xaa);
        let mut input = &c2[..];
        assert_eq!(server.feed(&mut input, &mut to_client).unwrap(), agreed);
        assert_eq!(input, [0xaa], "the first chunk is left alone");

        // C2 proves that the client has seen S1's digest, S2 that the server has seen C1's.
        let s1: Packet = to_client[1..1537].try_into().unwrap();
        let (_, digest) = find_digest(&s1, &SERVER_KEY[..SERVER_KEY_TEXT]).unwrap();
        assert_eq!(c2[1504..1536], hmac(&hmac(CLIENT_KEY, &[&digest]), &[&c2[..1504]]));
        let c1: Packet = to_server[1..].try_into().unwrap();
        let (_, digest) = find_digest(&c1, &CLIENT_KEY[..CLIENT_KEY_TEXT]).unwrap();
        let s2 = &to_client[1537..];
        assert_eq!(s2[1504..], hmac(&hmac(SERVER_KEY, &[&digest]), &[&s2[..1504]]));
    }

    #[test]
    fn a_server_answers_in_the_schema_of_the_client_however_the_bytes_are_cut() {
        for schema in [Schema::KeyFirst, Schema::DigestFirst] {
            let input = [complex_c0c1(schema, 5), vec![0; PACKET_BYTES], b"rest".to_vec()].concat();
            let whole = serve(&input, input.len()).unwrap();
            assert_eq!(whole.1, Some(Agreed { complex: Some(schema), proxied_ip: None }));
            assert_eq!((whole.0.len(), &whole.2[..]), (1 + 2 * PACKET_BYTES, &b"rest"[..]));
            let s1: Packet = whole.0[1..1537].try_into().unwrap();
            assert_eq!(find_digest(&s1, &SERVER_KEY[..SERVER_KEY_TEXT]).unwrap().0, schema);
            for piece in [1, 7, 1000, 1537] {
                assert_eq!(serve(&input, piece), Ok(whole.clone()), "pieces of {piece}");
            }
        }
    }

    #[test]
    fn without_a_digest_it_is_simple_and_s2_is_c1() {
        let mut c1 = vec![0; PACKET_BYTES];
        Noise(9).fill(&mut c1[8..]);
        c1[3] = 77;
        let input = [&[VERSION][..], &c1, &[0; PACKET_BYTES]].concat();
        let (out, agreed, left) = serve(&input, 100).unwrap();
        assert_eq!(agreed, Some(Agreed { complex: None, proxied_ip: None }));
        assert_eq!((&out[1537..], &out[5..9], left.len()), (&c1[..], &[0, 0, 0, 77][..], 0));
        // The client's end falls back in the same way.
        let mut sent = Vec::new();
        let mut client = ClientHandshake::new(3, &mut sent);
        sent.clear();
        let simple = [&[VERSION][..], &c1, &[1; PACKET_BYTES]].concat();
        assert_eq!(client.feed(&mut &simple[..], &mut sent).unwrap().unwrap().complex, None);
        assert_eq!(sent, c1, "C2 echoes S1");
    }

    #[test]
    fn a_proxy_may_name_the_client() {
        let rest = [complex_c0c1(Schema::DigestFirst, 5), vec![0; PACKET_BYTES]].concat();
        let ip = |header: &[u8], piece| {
            let input = [header, &rest].concat();
            serve(&input, piece).map(|(_, agreed, _)| agreed.unwrap().proxied_ip)
        };
        for piece in [1, 4, 4000] {
            assert_eq!(ip(b"\xf3\0\x04\x0a\x01\x02\x03", piece), Ok(Some(Ipv4Addr::new(10, 1, 2, 3))));
            assert_eq!(ip(b"\xf3\0\x06\x0a\x01\x02\x03xx", piece), Ok(Some(Ipv4Addr::new(10, 1, 2, 3))));
            assert_eq!(ip(b"\xf3\0\x02ab", piece), Ok(None));
            assert_eq!(ip(b"\xf3\0\x00", piece), Ok(None));
        }
        assert_eq!(ip(b"\xf3\x04\x01", 9), Err(HandshakeError::ProxyHeader(1025)));
        assert_eq!(ip(b"\xf3\0\x00\xf3\0\x00", 9), Err(HandshakeError::Version(0xf3)), "one header only");
    }

    #[test]
    fn another_protocol_is_refused_at_its_first_byte() {
        assert_eq!(serve(b"GET / HTTP/1.1\r\n", 1), Err(HandshakeError::Version(b'G')));
        assert_eq!(serve(&[6], 1), Err(HandshakeError::Version(6)));
        let mut out = Vec::new();
        let mut client = ClientHandshake::new(3, &mut out);
        assert_eq!(client.feed(&mut &b"HTTP/1.1 400"[..], &mut out), Err(HandshakeError::Version(b'H')));
    }
}
