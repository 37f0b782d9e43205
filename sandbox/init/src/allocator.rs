//! An allocator that wipes memory before it gives it back.
//!
//! Parsers, ciphers and the standard library's command builder copy values and free the copies
//! unwiped. With this allocator every freed copy is gone. Growing a block copies it and wipes the
//! old one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::mem::MaybeUninit;

use zeroize::Zeroize as _;

/// The system allocator with wiping. Install it as `#[global_allocator]`.
#[derive(Debug, Clone, Copy, Default)]
pub struct ZeroOnFree;

#[expect(unsafe_code, reason = "an allocator is unsafe by its interface")]
// SAFETY: all blocks come from and go back to `System` with the layout they were asked for; wiping
// stays within that layout.
unsafe impl GlobalAlloc for ZeroOnFree {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps the contract of `alloc_zeroed`.
        unsafe { System.alloc_zeroed(layout) }
    }

    // `realloc` is the trait's own: a new block, a copy, and `dealloc` of the old one.

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is valid for `layout.size()` bytes, and the caller gives it up.
        unsafe { std::slice::from_raw_parts_mut(block.cast::<MaybeUninit<u8>>(), layout.size()) }
            .zeroize();
        // SAFETY: the caller keeps the contract of `dealloc`.
        unsafe { System.dealloc(block, layout) }
    }
}
