//! Takes a directory out of the filter of the sensor that was started last: from the outside, by way of its map.

use anyhow::{Context, Result};
use aya::maps::{Array, Map, MapData, loaded_maps};
use sensor_common::filter::{FilterTables, OPS_ALL};
use zerocopy::IntoBytes as _;

/// The map's name in the kernel.
const NAME: &str = ".data.filter";
const SIZE: usize = size_of::<FilterTables>();

/// A filter that is no longer what its sensor wrote.
pub(super) struct Sabotage {
    tables: Array<MapData, [u8; SIZE]>,
    left: [u8; SIZE],
}

impl Sabotage {
    /// Whether the sensor has not written its tables since.
    pub(super) fn lasts(&self) -> Result<bool> {
        Ok(self.tables.get(&0, 0)? == self.left)
    }
}

/// Clears what stands for the directory of this name.
pub(super) fn forget_directory(name: &str) -> Result<Sabotage> {
    let ids = loaded_maps().filter_map(Result::ok).filter(|map| map.name_as_str() == Some(NAME));
    let newest = ids.map(|map| map.id()).max().context("no filter is loaded")?;
    let mut tables: Array<MapData, [u8; SIZE]> = Array::try_from(Map::Array(MapData::from_id(newest)?))?;
    let mut bytes = tables.get(&0, 0)?;
    let mut only = FilterTables::NOTHING;
    only.add_directory(name.as_bytes(), OPS_ALL);
    // What comes before the slots says which operations look at anything; it stays.
    only.some = 0;
    for (byte, drop) in bytes.iter_mut().zip(only.as_bytes()) {
        *byte &= !drop;
    }
    tables.set(0, bytes, 0)?;
    Ok(Sabotage { tables, left: bytes })
}
