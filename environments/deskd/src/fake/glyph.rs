//! Characters as dots that can be read back. The fake display has no font: each cell shows the bits of a character's number, three dots
//! wide and seven high, big enough to survive a JPEG. A test reads from the picture exactly what a program received.

use a8s_rfb::Framebuffer;

/// Side of a dot in pixels.
const DOT: u16 = 4;
const COLUMNS: u16 = 3;
const ROWS: u16 = 7;
/// Width of a cell in pixels.
pub const WIDTH: u16 = (COLUMNS + 1) * DOT;
/// Height of a cell in pixels.
pub const HEIGHT: u16 = (ROWS + 1) * DOT;
/// Anything darker is a dot.
const DARK: u16 = 128;

/// A colour as it lies in a [`Framebuffer`].
pub type Colour = [u8; 4];
/// Background of cells.
pub const PAPER: Colour = [255, 255, 255, 0];
/// Dots.
pub const INK: Colour = [0, 0, 0, 0];

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rect {
    /// Left edge.
    pub x: u16,
    /// Top edge.
    pub y: u16,
    /// Width.
    pub w: u16,
    /// Height.
    pub h: u16,
}

impl Rect {
    /// What both cover, and what lies between.
    pub fn union(self, other: Self) -> Self {
        let (x, y) = (self.x.min(other.x), self.y.min(other.y));
        let right = (self.x + self.w).max(other.x + other.w);
        let bottom = (self.y + self.h).max(other.y + other.h);
        Self { x, y, w: right - x, h: bottom - y }
    }

    /// The part inside a picture of this size.
    pub fn inside(self, width: u16, height: u16) -> Self {
        let (x, y) = (self.x.min(width), self.y.min(height));
        Self { x, y, w: self.w.min(width - x), h: self.h.min(height - y) }
    }

    /// Whether the pixel is in it.
    pub fn holds(self, (x, y): (u16, u16)) -> bool {
        x >= self.x && y >= self.y && x - self.x < self.w && y - self.y < self.h
    }
}

/// Fills `rect` as far as it lies in the picture.
pub fn fill(picture: &mut Framebuffer, rect: Rect, colour: Colour) {
    let rect = rect.inside(picture.width, picture.height);
    let row = colour.repeat(usize::from(rect.w));
    for y in rect.y..rect.y + rect.h {
        let start = (usize::from(y) * usize::from(picture.width) + usize::from(rect.x)) * 4;
        picture.pixels[start..start + row.len()].copy_from_slice(&row);
    }
}

/// Draws `c` with its top left corner at `x`, `y`.
pub fn draw(picture: &mut Framebuffer, x: u16, y: u16, c: char) {
    let bits = c as u32;
    for bit in 0..COLUMNS * ROWS {
        if bits >> bit & 1 == 1 {
            let (column, row) = (bit % COLUMNS, bit / COLUMNS);
            fill(picture, Rect { x: x + column * DOT, y: y + row * DOT, w: DOT, h: DOT }, INK);
        }
    }
}

/// The lines of text in `rect`, whose corner is that of a cell; a line ends at its first empty cell.
pub fn read(picture: &Framebuffer, rect: Rect) -> Vec<String> {
    let rect = rect.inside(picture.width, picture.height);
    let line = |y: u16| {
        let cells = (0..rect.w / WIDTH).map(|column| cell(picture, rect.x + column * WIDTH, y));
        cells.take_while(|bits| *bits != 0).filter_map(char::from_u32).collect()
    };
    (0..rect.h / HEIGHT).map(|row| line(rect.y + row * HEIGHT)).collect()
}

fn cell(picture: &Framebuffer, x: u16, y: u16) -> u32 {
    let dark = |bit: u16| {
        let (column, row) = (bit % COLUMNS, bit / COLUMNS);
        let (x, y) = (x + column * DOT + DOT / 2, y + row * DOT + DOT / 2);
        let at = (usize::from(y) * usize::from(picture.width) + usize::from(x)) * 4;
        let light: u16 = picture.pixels[at..at + 3].iter().map(|part| u16::from(*part)).sum();
        light / 3 < DARK
    };
    (0..COLUMNS * ROWS).filter(|bit| dark(*bit)).fold(0, |bits, bit| bits | 1 << bit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_character_is_read_back_from_its_dots() {
        let text = "Aä€漢😀~ \u{301}";
        let mut picture = Framebuffer::new(320, 64);
        fill(&mut picture, Rect { x: 0, y: 0, w: 320, h: 64 }, PAPER);
        for (column, c) in (0..).zip(text.chars()) {
            draw(&mut picture, column * WIDTH, HEIGHT, c);
        }
        let whole = Rect { x: 0, y: 0, w: 320, h: 64 };
        assert_eq!(read(&picture, whole), [String::new(), text.to_owned()]);
    }

    #[test]
    fn a_rectangle_that_leaves_the_picture_is_cut() {
        let rect = Rect { x: 90, y: 90, w: 20, h: 20 };
        assert_eq!(rect.inside(100, 80), Rect { x: 90, y: 80, w: 10, h: 0 });
        assert_eq!(rect.union(Rect { x: 0, y: 95, w: 1, h: 1 }), Rect { x: 0, y: 90, w: 110, h: 20 });
    }
}
