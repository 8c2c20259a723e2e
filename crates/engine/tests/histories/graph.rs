//! Directed graphs: which nodes lie on cycles, and short cycles to show.

/// Edges by the node they leave.
pub struct Graph {
    first: Vec<u32>,
    targets: Vec<u32>,
}

const NONE: u32 = u32::MAX;

impl Graph {
    pub fn new(nodes: usize, edges: impl Iterator<Item = (u32, u32)> + Clone) -> Graph {
        let mut first = vec![0; nodes + 1];
        edges.clone().for_each(|(from, _)| first[from as usize + 1] += 1);
        for node in 0..nodes {
            first[node + 1] += first[node];
        }
        let mut next = first.clone();
        let mut targets = vec![0; first[nodes] as usize];
        for (from, to) in edges {
            targets[next[from as usize] as usize] = to;
            next[from as usize] += 1;
        }
        Graph { first, targets }
    }

    fn nodes(&self) -> usize {
        self.first.len() - 1
    }

    fn targets(&self, node: u32) -> &[u32] {
        &self.targets[self.first[node as usize] as usize..self.first[node as usize + 1] as usize]
    }

    /// Two nodes lie on a cycle with each other if they are in the same component (Tarjan's algorithm, with a stack of its own).
    pub fn components(&self) -> Components {
        let nodes = self.nodes();
        let (mut index, mut low) = (vec![NONE; nodes], vec![0; nodes]);
        let mut of = vec![NONE; nodes];
        let (mut open, mut path) = (Vec::new(), Vec::<(u32, u32)>::new());
        let (mut entered, mut components) = (0, 0);
        for root in 0..nodes as u32 {
            if index[root as usize] != NONE {
                continue;
            }
            path.push((root, self.first[root as usize]));
            while let Some(&mut (node, ref mut edge)) = path.last_mut() {
                let at = node as usize;
                if index[at] == NONE {
                    (index[at], low[at]) = (entered, entered);
                    entered += 1;
                    open.push(node);
                }
                if *edge < self.first[at + 1] {
                    let target = self.targets[*edge as usize];
                    *edge += 1;
                    if index[target as usize] == NONE {
                        path.push((target, self.first[target as usize]));
                    } else if of[target as usize] == NONE {
                        low[at] = low[at].min(index[target as usize]);
                    }
                    continue;
                }
                path.pop();
                if let Some(&(above, _)) = path.last() {
                    low[above as usize] = low[above as usize].min(low[at]);
                }
                if low[at] == index[at] {
                    while let Some(member) = open.pop() {
                        of[member as usize] = components;
                        if member == node {
                            break;
                        }
                    }
                    components += 1;
                }
            }
        }
        Components { of, count: components }
    }

    /// A shortest way, both ends included.
    pub fn path(&self, from: u32, to: u32) -> Option<Vec<u32>> {
        let mut before = vec![NONE; self.nodes()];
        before[from as usize] = from;
        let mut reached = vec![from];
        let mut next = 0;
        while before[to as usize] == NONE {
            let node = *reached.get(next)?;
            next += 1;
            for &target in self.targets(node) {
                if before[target as usize] == NONE {
                    before[target as usize] = node;
                    reached.push(target);
                }
            }
        }
        let mut path = vec![to];
        while path[path.len() - 1] != from {
            path.push(before[path[path.len() - 1] as usize]);
        }
        path.reverse();
        Some(path)
    }
}

pub struct Components {
    of: Vec<u32>,
    count: u32,
}

impl Components {
    pub fn same(&self, a: u32, b: u32) -> bool {
        self.of[a as usize] == self.of[b as usize]
    }

    /// No edge of ours leads from a node to itself, so that a cycle takes two nodes.
    pub fn has_cycle(&self) -> bool {
        (self.count as usize) < self.of.len()
    }
}

#[cfg(test)]
mod tests {
    use super::super::common::Random;
    use super::*;

    /// All that can be reached from each node, the slow way.
    fn reach(nodes: u32, edges: &[(u32, u32)]) -> Vec<Vec<bool>> {
        let mut reached: Vec<Vec<bool>> = (0..nodes).map(|from| (0..nodes).map(|to| from == to).collect()).collect();
        for _ in 0..nodes {
            for &(from, to) in edges {
                for row in &mut reached {
                    row[to as usize] |= row[from as usize];
                }
            }
        }
        reached
    }

    #[test]
    fn components_and_paths_are_those_of_reachability() {
        let mut random = Random(5);
        for round in 0..2000 {
            let nodes = 2 + random.below(8) as u32;
            let edges: Vec<(u32, u32)> = (0..round % 20)
                .map(|_| (random.below(nodes.into()) as u32, random.below(nodes.into()) as u32))
                .filter(|(from, to)| from != to)
                .collect();
            let graph = Graph::new(nodes as usize, edges.iter().copied());
            let components = graph.components();
            let reached = reach(nodes, &edges);
            let mutual = |a: u32, b: u32| reached[a as usize][b as usize] && reached[b as usize][a as usize];
            for a in 0..nodes {
                for b in 0..nodes {
                    assert_eq!(components.same(a, b), mutual(a, b), "{edges:?}");
                    let path = graph.path(a, b);
                    assert_eq!(path.is_some(), reached[a as usize][b as usize], "{edges:?}");
                    let path = path.unwrap_or(vec![a]);
                    assert!(path.windows(2).all(|step| edges.contains(&(step[0], step[1]))));
                }
            }
            let any = edges.iter().any(|&(from, to)| mutual(from, to));
            assert_eq!(components.has_cycle(), any, "{edges:?}");
        }
    }
}
