//! The wallpaper, drawn here: a night sky from navy to violet with soft ridges of teal light. Our own work, so nothing has
//! to be fetched or credited. It is smooth on purpose: a VNC viewer receives it cheaply.

use std::io;

type Colour = [f32; 3];

const NAVY: Colour = [12.0, 17.0, 43.0];
const INDIGO: Colour = [38.0, 42.0, 122.0];
const VIOLET: Colour = [88.0, 52.0, 164.0];
const TEAL: Colour = [20.0, 122.0, 138.0];
const NIGHT: Colour = [9.0, 13.0, 32.0];

/// The picture as a PNG file.
pub fn png(width: u32, height: u32) -> io::Result<Vec<u8>> {
    let mut pixels = Vec::with_capacity(width as usize * height as usize * 3);
    for y in 0..height {
        for x in 0..width {
            let colour = at(unit(x, width), unit(y, height));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to a byte")]
            pixels.extend(colour.map(|value| value.clamp(0.0, 255.0).round() as u8));
        }
    }
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_compression(png::Compression::High);
    let mut writer = encoder.write_header()?;
    writer.write_image_data(&pixels)?;
    writer.finish()?;
    Ok(file)
}

#[allow(clippy::cast_precision_loss, reason = "a picture has fewer pixels than an f32 has digits")]
fn unit(position: u32, size: u32) -> f32 {
    position as f32 / size as f32
}

/// The colour at a point of the unit square, from the upper left.
fn at(x: f32, y: f32) -> Colour {
    let mut colour = mix(NAVY, INDIGO, smooth(0.05, 0.95, x));
    colour = mix(colour, VIOLET, 0.85 * glow(x - 1.02, (y - 0.42) * 0.8, 0.42));
    colour = mix(colour, INDIGO, 0.5 * glow(x - 0.62, y + 0.05, 0.3));
    colour = mix(colour, TEAL, 0.95 * glow((x - 0.10) * 0.75, y - 0.98, 0.46));
    // Ridges: each a wave below which the picture is a little darker, lit along its crest.
    for (level, height, phase, strength) in
        [(0.60, 0.085, 0.4, 0.24), (0.73, 0.07, 2.2, 0.28), (0.86, 0.055, 4.1, 0.36)]
    {
        let crest = level + height * (x * 5.1 + phase).sin() + 0.4 * height * (x * 11.3 + phase * 2.0).sin();
        let below = y - crest;
        let shade = smooth(-0.002, 0.006, below) * strength * (1.0 - smooth(0.0, 0.55, below) * 0.7);
        let light = (-(below.max(0.0) / 0.05)).exp() * smooth(-0.002, 0.003, below) * 0.22;
        colour = mix(colour, NIGHT, shade);
        colour = mix(colour, mix(TEAL, VIOLET, x), light);
    }
    colour
}

fn mix(from: Colour, to: Colour, share: f32) -> Colour {
    let share = share.clamp(0.0, 1.0);
    std::array::from_fn(|i| from[i] + (to[i] - from[i]) * share)
}

fn smooth(low: f32, high: f32, value: f32) -> f32 {
    let t = ((value - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

fn glow(dx: f32, dy: f32, radius: f32) -> f32 {
    (-(dx * dx + dy * dy) / (radius * radius)).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_a_png_of_the_asked_size_and_small_enough_for_an_image() {
        let file = png(320, 200).unwrap();
        let reader = png::Decoder::new(io::Cursor::new(&file)).read_info().unwrap();
        assert_eq!((reader.info().width, reader.info().height), (320, 200));
        assert!(file.len() < 100_000, "{}", file.len());
    }

    #[test]
    fn it_is_dark_where_windows_and_icons_lie() {
        for (x, y) in [(0.0, 0.0), (0.5, 0.3), (0.3, 0.6), (0.5, 0.95)] {
            let colour = at(x, y);
            let brightness: f32 = colour.iter().sum::<f32>() / 3.0;
            assert!(brightness < 110.0, "{x} {y}: {colour:?}");
        }
    }
}
