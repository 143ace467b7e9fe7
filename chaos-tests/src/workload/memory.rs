//! What a client remembers of what it pushed and pulled: with it, it pulls by digest, moves tags and attaches artifacts.

use crate::truth::Manifest;
use rand::Rng;
use std::collections::VecDeque;
use std::sync::Arc;

/// How much it remembers; the oldest goes first.
const MOST: usize = 48;

/// A manifest in a repository.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) repo: String,
    pub(super) manifest: Arc<Manifest>,
}

/// Manifests that were there when they were seen last.
#[derive(Default)]
pub(super) struct Memory(VecDeque<Known>);

impl Memory {
    pub(super) fn keep(&mut self, repo: &str, manifest: &Arc<Manifest>) {
        if self.0.iter().any(|known| known.repo == repo && known.manifest.digest == manifest.digest) {
            return;
        }
        if self.0.len() == MOST {
            self.0.pop_front();
        }
        self.0.push_back(Known { repo: repo.to_owned(), manifest: Arc::clone(manifest) });
    }

    pub(super) fn forget(&mut self, known: &Known) {
        self.0.retain(|other| other.repo != known.repo || other.manifest.digest != known.manifest.digest);
    }

    /// One for which a test holds.
    pub(super) fn any(&self, dice: &mut impl Rng, test: impl Fn(&Manifest) -> bool) -> Option<Known> {
        let fitting: Vec<_> = self.0.iter().filter(|known| test(&known.manifest)).collect();
        // The dice are thrown all the same, so that later choices do not hang on it.
        let throw = dice.random_range(0..MOST);
        (!fitting.is_empty()).then(|| fitting[throw % fitting.len()].clone())
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST, Memory};
    use crate::truth::{Blob, Manifest, Parts};
    use rand::SeedableRng;
    use rand::rngs::StdRng;
    use std::sync::Arc;

    #[test]
    fn the_oldest_is_forgotten_first_and_what_is_gone_is_not_offered() {
        let mut dice = StdRng::seed_from_u64(1);
        let mut memory = Memory::default();
        let manifests: Vec<_> = (0..=MOST as u64)
            .map(|number| {
                let parts = Parts::Image { config: Blob::new(number, 1), layers: Vec::new() };
                Arc::new(Manifest::new(number.to_string(), parts))
            })
            .collect();
        manifests.iter().chain(&manifests[5..]).for_each(|manifest| memory.keep("r", manifest));
        assert!(memory.any(&mut dice, |manifest| manifest.digest == manifests[0].digest).is_none());
        let second = memory.any(&mut dice, |manifest| manifest.digest == manifests[1].digest);
        assert!(second.as_ref().is_some_and(|known| known.repo == "r"));
        second.iter().for_each(|known| memory.forget(known));
        assert!(memory.any(&mut dice, |manifest| manifest.digest == manifests[1].digest).is_none());
        assert_eq!(memory.0.len(), MOST - 1);
    }
}
