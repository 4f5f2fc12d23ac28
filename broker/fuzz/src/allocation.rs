//! Counts what a thread allocates, so that «never takes more memory than its limit» is a measurement.
//!
//! Owns: [`Counting`] and [`peak_of`]. Never does: refuse memory. Talks to: the system's allocator.
//! Start reading at: [`peak_of`].

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
};

thread_local! {
    /// `(live, peak)` bytes of this thread. Const and without a destructor: touching it allocates nothing.
    static BYTES: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

fn count(change: isize) {
    // Gone only while the thread ends: nothing is measured then.
    let _ = BYTES.try_with(|bytes| {
        let (live, peak) = bytes.get();
        let live = live + change;
        bytes.set((live, peak.max(live)));
    });
}

/// The system's allocator with a counter per thread. A binary or test that wants figures makes it its global one.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counting;

// SAFETY: every call goes to `System` unchanged, which keeps the contract of `GlobalAlloc`; counting neither allocates
// (see `BYTES`) nor unwinds.
#[expect(unsafe_code, reason = "an allocator cannot be written without; it only counts")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's layout, as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller got the pointer from `alloc` or `realloc` above, hence from `System`, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as isize - layout.size() as isize);
        // SAFETY: as in `dealloc`; the caller answers for the new size.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

/// Bytes that `work` had at once beyond what was there before it. 0 where [`Counting`] is not the global allocator.
pub fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = BYTES.with(|bytes| {
        let (live, _) = bytes.get();
        bytes.set((live, live));
        live
    });
    let result = work();
    let (_, peak) = BYTES.with(Cell::get);
    (result, usize::try_from(peak - before).unwrap_or(0))
}
