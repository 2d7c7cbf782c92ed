//! Reading files through the ring.

use glommio::io::BufferedFile;
use std::io;
use std::path::Path;

/// An open file, read in pieces.
pub struct ReadFile(BufferedFile);

impl ReadFile {
    /// Opens a file for reading.
    pub async fn open(path: &Path) -> io::Result<ReadFile> {
        Ok(ReadFile(BufferedFile::open(path).await?))
    }

    /// Its length in bytes.
    pub async fn length(&self) -> io::Result<u64> {
        Ok(self.0.file_size().await?)
    }

    /// At most `limit` bytes from `at` on; fewer only at the end of the file.
    pub async fn read_at(&self, at: u64, limit: usize) -> io::Result<Vec<u8>> {
        Ok(self.0.read_at(at, limit).await?.to_vec())
    }
}
