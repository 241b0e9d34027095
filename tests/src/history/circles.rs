//! Transactions that read each other's writes around a circle (G1c): strongly connected parts of the graph of reads.

use std::collections::{BTreeMap, BTreeSet};

use super::anomaly::Anomaly;
use super::event::Transaction;
use super::fates::{Fates, Writer};
use super::reading::Reading;

type Graph = BTreeMap<Transaction, BTreeSet<Transaction>>;

/// Every circle of two or more; a transaction that reads itself is a precommitted read.
pub(super) fn check(fates: &Fates<'_>, reading: &Reading<'_>) -> Vec<Anomaly> {
    let mut graph = Graph::new();
    for read in &reading.reads {
        let Some(reader) = read.transaction else { continue };
        let Writer::One(index) = fates.writer(read.place, read.value) else { continue };
        if let Some(writer) = fates.sent[index].sending.transaction {
            graph.entry(writer).or_default().insert(reader);
            graph.entry(reader).or_default();
        }
    }
    let parts = connected(&graph).into_iter().filter(|part| part.len() > 1);
    parts
        .map(|mut transactions| {
            transactions.sort_unstable();
            Anomaly::CircularReads { transactions }
        })
        .collect()
}

/// What Tarjan's search knows of a node.
#[derive(Debug, Clone, Copy)]
struct Visit {
    index: usize,
    low: usize,
    waiting: bool,
}

/// The strongly connected parts (Tarjan), without recursion: a chain of copies may be long.
fn connected(graph: &Graph) -> Vec<Vec<Transaction>> {
    let mut visits: BTreeMap<Transaction, Visit> = BTreeMap::new();
    let mut waiting = Vec::new();
    let mut parts = Vec::new();
    for root in graph.keys() {
        if visits.contains_key(root) {
            continue;
        }
        let mut path = vec![(*root, graph[root].iter())];
        enter(*root, &mut visits, &mut waiting);
        while let Some((node, edges)) = path.last_mut() {
            let node = *node;
            if let Some(next) = edges.next() {
                match visits.get(next).copied() {
                    None => {
                        enter(*next, &mut visits, &mut waiting);
                        path.push((*next, graph[next].iter()));
                    }
                    Some(seen) if seen.waiting => lower(&mut visits, node, seen.index),
                    Some(_) => {}
                }
                continue;
            }
            path.pop();
            let visit = visits[&node];
            if let Some((parent, _)) = path.last() {
                lower(&mut visits, *parent, visit.low);
            }
            if visit.low == visit.index {
                let start = waiting.iter().rposition(|other| *other == node).expect("it waits");
                let part = waiting.split_off(start);
                for other in &part {
                    visits.get_mut(other).expect("it was visited").waiting = false;
                }
                parts.push(part);
            }
        }
    }
    parts
}

fn enter(node: Transaction, visits: &mut BTreeMap<Transaction, Visit>, waiting: &mut Vec<Transaction>) {
    let index = visits.len();
    visits.insert(node, Visit { index, low: index, waiting: true });
    waiting.push(node);
}

fn lower(visits: &mut BTreeMap<Transaction, Visit>, node: Transaction, to: usize) {
    let visit = visits.get_mut(&node).expect("it was visited");
    visit.low = visit.low.min(to);
}
