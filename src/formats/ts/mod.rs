//! MPEG transport streams (ISO 13818-1): [`psi`] tables, [`pes`] packets, and [`mux`], which turns access
//! units into transport packets.
//!
//! One program with at most one video and one audio track, on SRS's PIDs.

pub mod mux;
pub mod pes;
pub mod psi;

/// Length of a transport packet.
pub const PACKET_BYTES: usize = 188;
/// Every packet begins with it.
pub const SYNC: u8 = 0x47;
/// 33-bit clocks wrap here.
pub const CLOCK_WRAP: i64 = 1 << 33;

/// What video is, with its stream type in the PMT (ISO 13818-1 table 2-34).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum VideoType {
    /// H.264 as a byte stream.
    H264,
    /// HEVC as a byte stream.
    Hevc,
}

/// What audio is, with its stream type in the PMT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AudioType {
    /// AAC in ADTS.
    Aac,
    /// MP3; 0x03 for ISO 11172, 0x04 for the low rates of ISO 13818-3.
    Mp3 {
        /// Whether it is ISO 13818-3.
        low_rate: bool,
    },
}

/// The tracks of a transport stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Program {
    /// The video track, if there is one.
    pub video: Option<VideoType>,
    /// The audio track, if there is one.
    pub audio: Option<AudioType>,
}

impl Program {
    /// PID of the PMT.
    pub const PMT_PID: u16 = 0x1001;
    /// PID of video.
    pub const VIDEO_PID: u16 = 0x100;

    /// Whether there is nothing in it.
    pub const fn is_empty(&self) -> bool {
        self.video.is_none() && self.audio.is_none()
    }

    /// PID of audio: AAC and MP3 have different ones, as in SRS.
    pub const fn audio_pid(&self) -> u16 {
        match self.audio {
            Some(AudioType::Mp3 { .. }) => 0x102,
            _ => 0x101,
        }
    }

    /// The PID that carries the clock: video, or audio without video.
    pub const fn pcr_pid(&self) -> u16 {
        if self.video.is_some() { Self::VIDEO_PID } else { self.audio_pid() }
    }

    /// `version_number` of the PMT: another for every set of tracks.
    ///
    /// It follows from the tracks alone, so that a table made for one viewer agrees with those in the stream
    /// without knowing the stream's history.
    pub const fn version(&self) -> u8 {
        let video = match self.video {
            None => 0,
            Some(VideoType::H264) => 1,
            Some(VideoType::Hevc) => 2,
        };
        let audio = match self.audio {
            None => 0,
            Some(AudioType::Aac) => 1,
            Some(AudioType::Mp3 { low_rate: false }) => 2,
            Some(AudioType::Mp3 { low_rate: true }) => 3,
        };
        video * 4 + audio
    }
}

/// The continuity counter that each PID's last packet had (§2.4.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters {
    /// PID 0.
    pub pat: u8,
    /// [`Program::PMT_PID`].
    pub pmt: u8,
    /// [`Program::VIDEO_PID`].
    pub video: u8,
    /// [`Program::audio_pid`].
    pub audio: u8,
}

impl Counters {
    /// Before the first packets, which are numbered 0.
    pub const START: Counters = Counters { pat: 15, pmt: 15, video: 15, audio: 15 };

    /// As 4 bits each: PAT, PMT, video, audio from the least significant.
    pub const fn pack(self) -> u16 {
        (self.pat as u16) | (self.pmt as u16) << 4 | (self.video as u16) << 8 | (self.audio as u16) << 12
    }

    /// The reverse of [`pack`](Self::pack).
    pub const fn unpack(packed: u16) -> Counters {
        Counters {
            pat: (packed & 15) as u8,
            pmt: (packed >> 4 & 15) as u8,
            video: (packed >> 8 & 15) as u8,
            audio: (packed >> 12) as u8,
        }
    }
}
