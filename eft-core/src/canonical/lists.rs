/// A list for each number from 0 on, one after another in memory.
#[derive(Debug, Clone)]
pub(super) struct Lists<T> {
    /// Where each list starts; one more entry for the end of the last one.
    starts: Vec<u32>,
    all: Vec<T>,
}

impl<T: Copy> Lists<T> {
    pub(super) fn new(lists: impl IntoIterator<Item = Vec<T>>) -> Self {
        let (mut starts, mut all) = (vec![0], Vec::new());
        for list in lists {
            all.extend(list);
            starts.push(all.len() as u32);
        }
        Self { starts, all }
    }

    /// The list of a number; empty if there is none.
    pub(super) fn of(&self, number: u32) -> &[T] {
        match self.starts.get(number as usize..).unwrap_or_default() {
            [start, end, ..] => &self.all[*start as usize..*end as usize],
            _ => &[],
        }
    }
}

impl Lists<u32> {
    /// The numbers from 0 on, in lists: a number is in the list that is given for it, if there is one.
    pub(super) fn grouped(lists: usize, of_numbers: impl Iterator<Item = u32>) -> Self {
        let mut groups = vec![Vec::new(); lists];
        for (number, list) in (0..).zip(of_numbers) {
            if let Some(group) = groups.get_mut(list as usize) {
                group.push(number);
            }
        }
        Self::new(groups)
    }
}
