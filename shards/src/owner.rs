//! Which shard owns a key.
//!
//! The map is documented and stable for one number of shards: FNV-1a-64 over the key's bytes, a finalising
//! mix (FNV alone leaves the high bits poor for short keys), multiply-shift onto the number of shards.

use crate::ShardId;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// FNV-1a-64 of `key`, finalised: every input bit moves every output bit.
pub fn hash(key: &[u8]) -> u64 {
    let mut h = key.iter().fold(FNV_OFFSET, |h, b| (h ^ u64::from(*b)).wrapping_mul(FNV_PRIME));
    h ^= h >> 33;
    h = h.wrapping_mul(0xff51_afd7_ed55_8ccd);
    h ^= h >> 33;
    h = h.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    h ^ h >> 33
}

/// The shard that owns `key` among `shards` shards.
pub fn owner_of(key: &str, shards: u16) -> ShardId {
    let wide = u128::from(hash(key.as_bytes())) * u128::from(shards);
    ShardId((wide >> 64) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owners_are_stable() {
        // Golden: a change here moves every stream to another shard, which an upgrade in place must not do.
        assert_eq!(hash(b""), 0xefd0_1f60_ba99_2926);
        let owners: Vec<u16> = (0..8).map(|i| owner_of(&format!("live/s{i}"), 8).0).collect();
        assert_eq!(owners, [1, 2, 3, 6, 3, 1, 1, 2]);
        assert!((0..100).all(|i| owner_of(&format!("a/{i}"), 1) == ShardId(0)));
    }

    #[test]
    fn similar_names_spread_evenly() {
        for shards in [2u16, 3, 8, 64] {
            let mut per = vec![0f64; usize::from(shards)];
            let names = 64_000;
            for i in 0..names {
                per[owner_of(&format!("__defaultVhost__/live/livestream{i}"), shards).index()] += 1.0;
            }
            let fair = f64::from(names) / f64::from(shards);
            // Binomial: within 4 sigma of the fair share for each of at most 64 shards.
            let sigma = (fair * (1.0 - 1.0 / f64::from(shards))).sqrt();
            assert!(per.iter().all(|n| (n - fair).abs() < 4.0 * sigma), "{shards}: {per:?}");
        }
    }
}
