//! A circle is a set of files each of which reaches every other by its dependencies.

use std::collections::{BTreeMap, BTreeSet};

/// Which file depends on which, and for each pair one place that says so.
#[derive(Debug, Default)]
pub(super) struct Graph(BTreeMap<String, BTreeMap<String, String>>);

impl Graph {
    /// Adds that `from` depends on `to`, unless they are one. The first `place` of a pair is kept.
    pub(super) fn add(&mut self, from: &str, to: &str, place: impl FnOnce() -> String) {
        if from != to {
            self.0.entry(from.to_owned()).or_default().entry(to.to_owned()).or_insert_with(place);
        }
    }

    fn reached(&self, start: &str) -> BTreeSet<&str> {
        let mut reached = BTreeSet::new();
        let mut open = vec![start];
        while let Some(file) = open.pop() {
            for next in self.0.get(file).into_iter().flat_map(BTreeMap::keys) {
                if reached.insert(next.as_str()) {
                    open.push(next);
                }
            }
        }
        reached
    }

    /// Returns every circle, each as the files in it.
    fn circles(&self) -> BTreeSet<BTreeSet<&str>> {
        let reached: BTreeMap<_, _> = self.0.keys().map(|file| (file.as_str(), self.reached(file))).collect();
        let mut circles = BTreeSet::new();
        for (file, others) in &reached {
            if others.contains(file) {
                let is_back = |other: &&&str| reached.get(**other).is_some_and(|back| back.contains(file));
                circles.insert(others.iter().filter(is_back).copied().collect());
            }
        }
        circles
    }
}

/// Returns a line for every dependency that lies within a circle, and so one for each that could
/// be cut. None: there is no circle.
pub(super) fn told(graph: &Graph) -> Vec<String> {
    let mut told = Vec::new();
    for circle in graph.circles() {
        for from in &circle {
            for (to, place) in graph.0.get(*from).into_iter().flatten() {
                if circle.contains(to.as_str()) {
                    told.push(format!("{place} (a circle of {} files: {from} -> {to})", circle.len()));
                }
            }
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    fn circles(edges: &[(&str, &str)]) -> Vec<Vec<String>> {
        let mut graph = Graph::default();
        edges.iter().for_each(|(from, to)| graph.add(from, to, String::new));
        let owned = |circle: BTreeSet<&str>| circle.into_iter().map(str::to_owned).collect();
        graph.circles().into_iter().map(owned).collect()
    }

    #[test]
    fn layers_are_no_circle() {
        assert!(circles(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("a", "a")]).is_empty());
    }

    #[test]
    fn each_circle_is_found_once() {
        let edges = [("a", "b"), ("b", "c"), ("c", "a"), ("c", "x"), ("x", "y"), ("y", "x"), ("z", "a")];
        assert_eq!(circles(&edges), [vec!["a", "b", "c"], vec!["x", "y"]]);
    }
}
