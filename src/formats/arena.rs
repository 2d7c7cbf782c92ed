//! Small pieces of memory out of larger ones: what a stream keeps of each message for some seconds.
//!
//! An allocator asked for hundreds of bytes a hundred times a second and stream, to be given back seconds later, spends
//! more time on it than the message takes otherwise. Pieces of one arena come and go together, so that hardly
//! anything is held by a neighbour.

use bytes::{Bytes, BytesMut};

/// Memory for so many bytes is taken at once.
pub const ARENA_BYTES: usize = 8 << 10;
/// What is longer has memory of its own: it is rare, and would leave much of an arena unused.
pub const PIECE_BYTES: usize = 2 << 10;

/// Where one stream's pieces go, one behind the other.
#[derive(Debug, Default)]
pub struct Arena(BytesMut);

impl Arena {
    /// A copy of `bytes`.
    pub fn keep(&mut self, bytes: &[u8]) -> Bytes {
        if bytes.len() > PIECE_BYTES {
            return Bytes::copy_from_slice(bytes);
        }
        if self.0.capacity() < bytes.len() {
            self.0 = BytesMut::with_capacity(ARENA_BYTES);
        }
        self.0.extend_from_slice(bytes);
        self.0.split().freeze()
    }

    /// Memory held for pieces to come, in bytes.
    pub fn unused_bytes(&self) -> usize {
        self.0.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_are_copies_and_lie_behind_each_other() {
        let mut arena = Arena::default();
        let pieces: Vec<Bytes> = (0..100u8).map(|n| arena.keep(&[n; 300])).collect();
        for (n, piece) in (0..100u8).zip(&pieces) {
            assert_eq!(piece, &[n; 300][..]);
        }
        let neighbours = pieces.windows(2).filter(|p| p[0].as_ptr_range().end == p[1].as_ptr()).count();
        assert_eq!(neighbours, 99 - 100 / (ARENA_BYTES / 300), "27 to an arena");
        assert_eq!(arena.keep(&[7; PIECE_BYTES + 1]), [7; PIECE_BYTES + 1][..]);
        assert!(arena.keep(&[]).is_empty());
        assert!(arena.unused_bytes() < ARENA_BYTES);
    }
}
