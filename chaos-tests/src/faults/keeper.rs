//! Keeps a network's links as what is in force wants them, also while whoever broke them is busy with something else.

use super::links::{Links, whole};
use crate::Result;
use crate::wan::{Steering, WanError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// How often links that flap are looked at.
const TICK: Duration = Duration::from_millis(10);

/// The links, and the network that they belong to. Dropping it ends the flapping.
pub(super) struct Keeper {
    links: Arc<Mutex<Links>>,
    steering: Option<Steering>,
    /// At most one task, for as long as a link flaps.
    flapping: JoinSet<std::result::Result<(), WanError>>,
}

impl Keeper {
    pub(super) fn new(links: Links, steering: Option<Steering>) -> Self {
        Self { links: Arc::new(Mutex::new(links)), steering, flapping: JoinSet::new() }
    }

    /// The links now.
    pub(super) fn now(&self) -> MutexGuard<'_, Links> {
        lock(&self.links)
    }

    /// Changes what is in force.
    ///
    /// # Errors
    /// When there is no network, or no such link.
    pub(super) fn change(&mut self, act: impl FnOnce(&mut Links)) -> Result<()> {
        let steering = self.steering.as_ref().ok_or("there is no WAN")?;
        let mut links = lock(&self.links);
        act(&mut links);
        set(&links, steering)?;
        if links.any_flaps() && self.flapping.is_empty() {
            self.flapping.spawn(flap(Arc::clone(&self.links), steering.clone()));
        }
        Ok(())
    }

    /// Ends what is in force under a number, if it is about links.
    ///
    /// # Errors
    /// When a link could not be set, now or while it flapped.
    pub(super) async fn lift(&mut self, id: u64) -> Result<()> {
        if !self.now().lift(id) {
            return Ok(());
        }
        self.change(|_| ())?;
        if !self.now().any_flaps() {
            while let Some(ended) = self.flapping.join_next().await {
                ended??;
            }
        }
        Ok(())
    }
}

/// Sets the links anew until none flaps any more.
async fn flap(links: Arc<Mutex<Links>>, steering: Steering) -> std::result::Result<(), WanError> {
    loop {
        {
            let links = lock(&links);
            if !links.any_flaps() {
                return Ok(());
            }
            set(&links, &steering)?;
        }
        tokio::time::sleep(TICK).await;
    }
}

/// Under the lock, so that what was worked out earlier is never set later.
fn set(links: &Links, steering: &Steering) -> std::result::Result<(), WanError> {
    for ((from, to), link) in links.at(Instant::now()) {
        steering.set(from, to, whole(link))?;
    }
    Ok(())
}

fn lock(links: &Mutex<Links>) -> MutexGuard<'_, Links> {
    // Whatever is in force is written whole: a panic elsewhere leaves nothing half done.
    links.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap fails the test, as it should")]

    use super::Keeper;
    use crate::faults::links::{Links, both_ways};
    use crate::geo;
    use crate::wait;
    use crate::wan::board::Board;
    use crate::wan::link::Link;
    use crate::wan::{LinkChange, Steering, Topology};
    use std::sync::Arc;
    use std::time::Duration;

    const WITHIN: Duration = Duration::from_secs(10);

    #[tokio::test]
    async fn a_link_flaps_by_itself_until_it_is_lifted() {
        // The host's port is the first of three.
        let board = Arc::new(Board::new(vec![Link::default(); 9]));
        let steering = Steering::new(Topology::parse(geo::TWO).unwrap(), Arc::clone(&board));
        let pairs = both_ways(&[("eu-west".to_owned(), "ap-south".to_owned())]);
        let links = Links::new(pairs.iter().map(|pair| (pair.clone(), Link::default())).collect());
        let mut keeper = Keeper::new(links, Some(steering));
        let cut = LinkChange { cut: Some(true), ..LinkChange::default() };
        let is_cut = || board.links().iter().filter(|link| link.cut).count() == 2;
        keeper.change(|links| links.flap(1, pairs.clone(), cut, Duration::from_millis(100))).unwrap();
        keeper.change(|links| links.flap(2, pairs.clone(), cut, Duration::from_millis(100))).unwrap();
        for wanted in [true, false, true, false, true] {
            let seen = wait::until("the link to change", WITHIN, async || {
                if is_cut() == wanted { Ok(()) } else { Err(format!("it is {}", is_cut())) }
            });
            seen.await.unwrap();
        }
        keeper.lift(2).await.unwrap();
        assert_eq!(keeper.flapping.len(), 1, "the other goes on, and one task is enough for both");
        keeper.lift(1).await.unwrap();
        assert!(keeper.flapping.is_empty() && board.links().iter().all(|link| !link.cut));
    }
}
