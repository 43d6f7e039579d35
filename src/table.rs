//! A map as a sorted list: the component's maps are small, and the standard ones cost it a fifth of its size.

/// Keys and values, by key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<K, V> {
    rows: Vec<(K, V)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: Vec::new() }
    }
}

impl<K: Ord, V> Table<K, V> {
    /// The value of a key.
    pub fn get<Q: Ord + ?Sized>(&self, key: &Q) -> Option<&V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.find(key).ok().map(|at| &self.rows[at].1)
    }

    /// The value of a key, to be changed.
    pub fn get_mut<Q: Ord + ?Sized>(&mut self, key: &Q) -> Option<&mut V>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.find(key).ok().map(|at| &mut self.rows[at].1)
    }

    /// Sets the value of a key.
    pub fn insert(&mut self, key: K, value: V) {
        match self.find(&key) {
            Ok(at) => self.rows[at].1 = value,
            Err(at) => self.rows.insert(at, (key, value)),
        }
    }

    /// The value of a key, made if it is not there.
    pub fn entry(&mut self, key: K, make: impl FnOnce() -> V) -> &mut V {
        let at = match self.find(&key) {
            Ok(at) => at,
            Err(at) => {
                self.rows.insert(at, (key, make()));
                at
            }
        };
        &mut self.rows[at].1
    }

    /// Takes a key out.
    pub fn remove<Q: Ord + ?Sized>(&mut self, key: &Q)
    where
        K: std::borrow::Borrow<Q>,
    {
        if let Ok(at) = self.find(key) {
            self.rows.remove(at);
        }
    }

    /// Keeps the rows that are wanted.
    pub fn retain(&mut self, mut wanted: impl FnMut(&K, &V) -> bool) {
        self.rows.retain(|(key, value)| wanted(key, value));
    }

    /// Every row, by key.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.rows.iter().map(|(key, value)| (key, value))
    }

    /// Every value, by key.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.rows.iter().map(|(_, value)| value)
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes every row out.
    pub fn clear(&mut self) {
        self.rows.clear();
    }

    fn find<Q: Ord + ?Sized>(&self, key: &Q) -> Result<usize, usize>
    where
        K: std::borrow::Borrow<Q>,
    {
        self.rows.binary_search_by(|(known, _)| known.borrow().cmp(key))
    }
}

impl<K: Ord, V> Extend<(K, V)> for Table<K, V> {
    fn extend<T: IntoIterator<Item = (K, V)>>(&mut self, rows: T) {
        for (key, value) in rows {
            self.insert(key, value);
        }
    }
}

/// Puts a text in its place in a sorted list, unless it is there.
pub fn insert_sorted(list: &mut Vec<String>, text: String) {
    if let Err(at) = list.binary_search(&text) {
        list.insert(at, text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_by_key_whatever_the_order_they_went_in() {
        let mut table = Table::default();
        table.extend([("b", 1), ("a", 2), ("c", 3), ("b", 4)]);
        table.remove("c");
        *table.entry("d", || 0) += 5;
        assert_eq!(table.iter().collect::<Vec<_>>(), [(&"a", &2), (&"b", &4), (&"d", &5)]);
        assert_eq!((table.get("b"), table.get("c"), table.len()), (Some(&4), None, 3));
    }
}
