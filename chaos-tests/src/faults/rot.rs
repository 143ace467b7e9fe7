//! Bits that turn in blob files, and leave no trace: sizes and times stay. A node that does not verify each read
//! (`storage.verify_reads = always`) may serve them until it next verifies the file.

use super::effect::Effect;
use super::world::World;
use crate::cluster::Cluster;
use crate::data_folder::{BlobFile, blob_files};
use crate::{Result, wait};
use rand::Rng;
use rand::seq::IteratorRandom;
use std::collections::BTreeSet;
use std::fs::{self, File, FileTimes};
use std::os::unix::fs::FileExt;
use std::time::Duration;

/// Most files that rot at once.
const MOST_FILES: usize = 3;

/// Most bits that turn in each.
const MOST_BITS: usize = 8;

/// How long a node may take to get what it noticed anew: whoever has it may be stopped meanwhile, so that not for ever.
const REPAIRED_WITHIN: Duration = Duration::from_secs(15);

/// One bit that turned.
struct Bit {
    file: BlobFile,
    offset: u64,
    mask: u8,
}

/// What rotted.
pub(super) struct Rot {
    node: usize,
    bits: Vec<Bit>,
}

/// The files of those blobs of a node that another one has, too, which runs and is sound: harm to an only copy is a loss, and
/// no fault of the node's.
fn spare(world: &World<'_>, node: usize) -> Result<Vec<BlobFile>> {
    let nodes = world.cluster.nodes();
    let mut elsewhere = BTreeSet::new();
    for other in (0..nodes.len()).filter(|other| *other != node && world.is_sound(*other)) {
        elsewhere.extend(blob_files(&nodes[other].data)?.into_iter().map(|file| file.digest));
    }
    let mut own = blob_files(&nodes[node].data)?;
    own.retain(|file| elsewhere.contains(&file.digest));
    Ok(own)
}

pub(super) fn is_possible(world: &World<'_>, node: usize) -> bool {
    spare(world, node).is_ok_and(|files| !files.is_empty())
}

pub(super) fn turn(world: &mut World<'_>, node: usize) -> Result<(Effect, Rot)> {
    let spare = spare(world, node)?;
    let rng = &mut world.rng;
    let count = rng.random_range(1..=MOST_FILES);
    let mut chosen = spare.into_iter().choose_multiple(rng, count);
    chosen.sort();
    let mut bits: Vec<Bit> = Vec::new();
    for file in &chosen {
        // Reclaimed meanwhile, or of nothing.
        let Some(found) = fs::metadata(&file.path).ok().filter(|found| found.len() > 0) else { continue };
        for _ in 0..rng.random_range(1..=MOST_BITS) {
            let (offset, mask) = (rng.random_range(0..found.len()), 1 << rng.random_range(0..8));
            // A bit that turned twice did not turn.
            if !bits.iter().any(|bit| bit.file == *file && (bit.offset, bit.mask) == (offset, mask)) {
                bits.push(Bit { file: file.clone(), offset, mask });
            }
        }
    }
    for bit in &bits {
        turn_one(bit)?;
    }
    if bits.is_empty() {
        return Err("there is no blob that another node has, too".into());
    }
    let names: Vec<_> = chosen.iter().filter_map(|file| Some(file.path.file_name()?.to_string_lossy())).collect();
    let said = format!("{} bits turned in {}", bits.len(), names.join(", "));
    Ok((Effect { said, harmed: vec![node], ..Effect::default() }, Rot { node, bits }))
}

fn turn_one(bit: &Bit) -> std::io::Result<()> {
    let file = File::options().read(true).write(true).open(&bit.file.path)?;
    let times = file.metadata()?;
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit.offset)?;
    file.write_all_at(&[byte[0] ^ bit.mask], bit.offset)?;
    file.set_times(FileTimes::new().set_accessed(times.accessed()?).set_modified(times.modified()?))
}

/// Turns the bits back where nobody noticed. What was noticed is gone, and waited for until the node has it again; where
/// nobody wants it any more, that is in vain.
pub(super) async fn heal(cluster: &Cluster, rot: Rot, effect: &mut Effect) -> Result<()> {
    let noticed: Vec<_> = rot.bits.iter().filter(|bit| turn_one(bit).is_err()).collect();
    let data = &cluster.nodes()[rot.node].data;
    let repaired = wait::until("the rotten files to be repaired", REPAIRED_WITHIN, async || {
        let there = blob_files(data).map_err(|error| error.to_string())?;
        let is_there = |bit: &Bit| there.iter().any(|file| file.digest == bit.file.digest);
        let open = noticed.iter().filter(|bit| !is_there(bit)).count();
        if open == 0 { Ok(()) } else { Err(format!("{open} are not there")) }
    })
    .await;
    let end = if repaired.is_ok() { "repaired" } else { "noticed and not copied again" };
    effect.stays = repaired.is_err();
    if !noticed.is_empty() {
        effect.said += &format!("; {} of these were noticed, and {end}", noticed.len());
    }
    cluster.wait_ready(rot.node).await
}
