//! The fewest things that still show something: delta debugging, after Zeller.

/// Takes away of `items` whatever it can while `still` holds of the rest, which keeps its order. It asks at most
/// `max_checks` times, so that the answer may be larger than need be, never wrong. Within that, no single item of the
/// answer can go.
pub fn fewest<T: Clone>(mut items: Vec<T>, max_checks: usize, mut still: impl FnMut(&[T]) -> bool) -> Vec<T> {
    let mut checks = 0;
    let mut chunk = items.len().div_ceil(2);
    while chunk > 0 {
        let mut shrunk = false;
        // From the end: what came last explains least of what came before.
        let mut end = items.len();
        while end > 0 {
            if checks == max_checks {
                return items;
            }
            let begin = end.saturating_sub(chunk);
            let rest: Vec<T> = items[..begin].iter().chain(&items[end..]).cloned().collect();
            checks += 1;
            if still(&rest) {
                items = rest;
                shrunk = true;
            }
            end = begin;
        }
        // A single one may have become superfluous only by another's going.
        if chunk > 1 || !shrunk {
            chunk /= 2;
        }
    }
    items
}

#[cfg(test)]
mod tests {
    use super::fewest;

    #[test]
    fn only_what_is_needed_stays_and_in_order() {
        let rest = fewest((0..1000).collect(), 1000, |rest| [17, 400, 999].iter().all(|one| rest.contains(one)));
        assert_eq!(rest, [17, 400, 999]);
    }

    #[test]
    fn nothing_stays_where_nothing_is_needed() {
        assert_eq!(fewest(vec![1, 2, 3], 100, |_| true), Vec::<i32>::new());
        assert_eq!(fewest(Vec::<i32>::new(), 100, |_| true), Vec::<i32>::new());
    }

    #[test]
    fn one_that_others_needed_goes_after_them() {
        // 1 may go only once 2 is gone, and 2 once 3 is.
        let rest = fewest(vec![0, 1, 2, 3], 100, |rest| {
            rest.contains(&0) && (rest.contains(&1) || !rest.contains(&2)) && (rest.contains(&2) || !rest.contains(&3))
        });
        assert_eq!(rest, [0]);
    }

    #[test]
    fn the_number_of_checks_is_bounded() {
        let mut asked = 0;
        let rest = fewest((0..10_000).collect(), 50, |rest| {
            asked += 1;
            rest.len() >= 9_000
        });
        assert_eq!(asked, 50);
        assert!((9_000..10_000).contains(&rest.len()));
    }
}
