//! What is freed is overwritten first: of a secret that a buffer held nothing stays on the heap,
//! whoever owned the buffer.
//!
//! Types that wipe themselves cover what our own code holds. They do not cover the copies that
//! parsers, HTTP clients and growing vectors leave behind; an allocator does. It does not reach
//! stacks, registers and what the system has swapped out.

#![no_std]

use core::alloc::{GlobalAlloc, Layout};

/// An allocator over another one, for `#[global_allocator]`.
///
/// ```
/// use std::alloc::System;
/// use lazaretto_wipe::Wiping;
///
/// #[global_allocator]
/// static HEAP: Wiping<System> = Wiping(System);
/// # assert_eq!([1, 2].to_vec().len(), 2);
/// ```
#[derive(Debug, Default)]
pub struct Wiping<A>(pub A);

#[allow(unsafe_code, reason = "an allocator is unsafe to implement")]
// SAFETY: what the inner allocator promises is passed on. Memory is written only between its last
// use and its freeing, within the size it was allocated with. `realloc` is the trait's own: a new
// block, a copy, and `dealloc` below for the old one, since an inner allocator that moves a block
// would leave the old one as it was.
unsafe impl<A: GlobalAlloc> GlobalAlloc for Wiping<A> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc(layout) }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promises.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    #[inline]
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the block is the caller's until it is freed, and as large as its layout says.
        unsafe {
            wipe(pointer, layout.size());
            self.0.dealloc(pointer, layout);
        }
    }
}

/// Volatile writes: a compiler that knows what freeing means leaves out all others.
#[allow(unsafe_code, reason = "the memory is known by its address alone")]
unsafe fn wipe(pointer: *mut u8, length: usize) {
    const WORD: usize = size_of::<u64>();
    let mut at = 0;
    // SAFETY: every write lies within the block, and those of words are aligned.
    unsafe {
        if pointer.addr().is_multiple_of(WORD) {
            while at + WORD <= length {
                pointer.add(at).cast::<u64>().write_volatile(0);
                at += WORD;
            }
        }
        while at < length {
            pointer.add(at).write_volatile(0);
            at += 1;
        }
    }
}

#[cfg(test)]
#[allow(unsafe_code, reason = "an allocator is unsafe to use")]
mod tests {
    extern crate std;

    use std::alloc::System;
    use std::cell::Cell;
    use std::vec::Vec;

    use super::*;

    /// Looks at every block before it is freed.
    #[derive(Default)]
    struct Looking {
        freed: Cell<usize>,
        dirty: Cell<usize>,
    }

    // SAFETY: the system's own, and reads of what is still allocated.
    unsafe impl GlobalAlloc for Looking {
        unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
            unsafe { System.alloc(layout) }
        }

        unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
            let block = unsafe { std::slice::from_raw_parts(pointer, layout.size()) };
            self.freed.set(self.freed.get() + 1);
            self.dirty.set(self.dirty.get() + block.iter().filter(|byte| **byte != 0).count());
            unsafe { System.dealloc(pointer, layout) }
        }
    }

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    #[test]
    fn what_is_freed_is_zero_whatever_its_size_and_place() {
        let heap = Wiping(Looking::default());
        for align in [1, 2, 4, 8, 16, 64] {
            for size in (1..70).chain([1_000, 4_097]) {
                let layout = layout(size, align);
                unsafe {
                    let block = heap.alloc(layout);
                    block.write_bytes(0xa5, size);
                    heap.dealloc(block, layout);
                }
            }
        }
        assert_eq!((heap.0.freed.get(), heap.0.dirty.get()), (6 * 71, 0));
    }

    #[test]
    fn what_a_block_is_moved_from_is_zero_and_what_it_held_is_kept() {
        let heap = Wiping(Looking::default());
        let mut size = 16;
        unsafe {
            let mut block = heap.alloc(layout(size, 8));
            block.write_bytes(0xa5, size);
            for next in [24, 4_096, 100, 16] {
                block = heap.realloc(block, layout(size, 8), next);
                let kept: Vec<u8> = std::slice::from_raw_parts(block, 16).to_vec();
                assert_eq!(kept, [0xa5; 16]);
                size = next;
            }
            heap.dealloc(block, layout(size, 8));
        }
        assert_eq!((heap.0.freed.get(), heap.0.dirty.get()), (5, 0));
    }
}
