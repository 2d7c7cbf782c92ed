//! A reader that cannot overrun: big-endian integers, byte runs and bits, all checked.

/// Fewer bytes or bits were there than a field needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("short at byte {at}: {need} more needed")]
pub struct Short {
    /// Where the reader stood, in bytes from its start.
    pub at: usize,
    /// How many bytes more would have been needed.
    pub need: usize,
}

/// Reads big-endian fields from a slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Reader { all: bytes, at: 0 }
    }

    /// Bytes read so far.
    pub const fn position(&self) -> usize {
        self.at
    }

    /// Bytes left.
    pub const fn left(&self) -> usize {
        self.all.len() - self.at
    }

    /// Whether everything was read.
    pub const fn is_empty(&self) -> bool {
        self.left() == 0
    }

    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], Short> {
        let end = self.at.checked_add(n).filter(|end| *end <= self.all.len());
        match end {
            Some(end) => {
                let run = &self.all[self.at..end];
                self.at = end;
                Ok(run)
            }
            None => Err(Short { at: self.at, need: n - self.left() }),
        }
    }

    /// A reader over just the next `n` bytes, which are skipped here.
    pub fn sub(&mut self, n: usize) -> Result<Reader<'a>, Short> {
        self.take(n).map(Reader::new)
    }

    /// Everything that is left.
    pub fn rest(&mut self) -> &'a [u8] {
        let run = &self.all[self.at..];
        self.at = self.all.len();
        run
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Short> {
        let mut a = [0; N];
        a.copy_from_slice(self.take(N)?);
        Ok(a)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, Short> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// Two bytes, big-endian.
    pub fn u16(&mut self) -> Result<u16, Short> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    /// Three bytes, big-endian.
    pub fn u24(&mut self) -> Result<u32, Short> {
        let [a, b, c] = self.array()?;
        Ok(u32::from_be_bytes([0, a, b, c]))
    }

    /// Four bytes, big-endian.
    pub fn u32(&mut self) -> Result<u32, Short> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    /// Eight bytes, big-endian.
    pub fn u64(&mut self) -> Result<u64, Short> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// Eight bytes as an IEEE 754 double, big-endian.
    pub fn f64(&mut self) -> Result<f64, Short> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// Four bytes as they are: a FourCC.
    pub fn fourcc(&mut self) -> Result<[u8; 4], Short> {
        self.array()
    }
}

/// Reads single bits, most significant first, and Exp-Golomb codes (ISO 14496-10 §9.1).
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    all: &'a [u8],
    at_bit: usize,
}

impl<'a> BitReader<'a> {
    /// A reader at the first bit of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        BitReader { all: bytes, at_bit: 0 }
    }

    /// Bits left.
    pub const fn left(&self) -> usize {
        self.all.len() * 8 - self.at_bit
    }

    /// One bit.
    pub fn bit(&mut self) -> Result<bool, Short> {
        let at = self.at_bit / 8;
        let byte = self.all.get(at).ok_or(Short { at, need: 1 })?;
        let bit = byte >> (7 - self.at_bit % 8) & 1;
        self.at_bit += 1;
        Ok(bit == 1)
    }

    /// The next `n` bits (at most 32), most significant first.
    pub fn bits(&mut self, n: u32) -> Result<u32, Short> {
        debug_assert!(n <= 32);
        let mut v = 0u32;
        for _ in 0..n {
            v = v << 1 | u32::from(self.bit()?);
        }
        Ok(v)
    }

    /// Skips `n` bits.
    pub fn skip(&mut self, n: usize) -> Result<(), Short> {
        if n > self.left() {
            return Err(Short { at: self.at_bit / 8, need: (n - self.left()).div_ceil(8) });
        }
        self.at_bit += n;
        Ok(())
    }

    /// An unsigned Exp-Golomb code, ue(v). Codes longer than 32 bits saturate to an error.
    pub fn ue(&mut self) -> Result<u32, Short> {
        let mut zeros = 0;
        while !self.bit()? {
            zeros += 1;
            if zeros > 31 {
                return Err(Short { at: self.at_bit / 8, need: 1 });
            }
        }
        Ok((1u32 << zeros) - 1 + self.bits(zeros)?)
    }

    /// A signed Exp-Golomb code, se(v).
    pub fn se(&mut self) -> Result<i32, Short> {
        let k = i64::from(self.ue()?);
        Ok((if k % 2 == 1 { (k + 1) / 2 } else { -(k / 2) }) as i32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_read_says_where_and_how_much() {
        let mut r = Reader::new(&[1, 2, 3]);
        assert_eq!(r.u16(), Ok(0x0102));
        assert_eq!(r.u32(), Err(Short { at: 2, need: 3 }));
        assert_eq!(r.u8(), Ok(3));
        assert!(r.is_empty());
    }

    #[test]
    fn exp_golomb_codes() {
        // 1, 010, 011, 00100, 00101 = 0, 1, 2, 3, 4
        let mut r = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let codes: Vec<u32> = (0..5).map(|_| r.ue().unwrap()).collect();
        assert_eq!(codes, [0, 1, 2, 3, 4]);
        let mut r = BitReader::new(&[0b1010_0110, 0b0100_0010, 0b1000_0000]);
        let codes: Vec<i32> = (0..5).map(|_| r.se().unwrap()).collect();
        assert_eq!(codes, [0, 1, -1, 2, -2]);
        assert!(BitReader::new(&[0; 16]).ue().is_err());
    }
}
