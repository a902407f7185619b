"""Draws line.png, the example of the OCR starter model, with the font that Pillow brings along (pip install pillow==13.0.0)."""

import pathlib

from PIL import Image, ImageDraw, ImageFont

TEXT = "Serval reads this line: 42 cats, 7 dogs."

font = ImageFont.load_default(size=40)
left, top, right, bottom = font.getbbox(TEXT)
image = Image.new("RGB", (right - left + 24, bottom - top + 20), "white")
ImageDraw.Draw(image).text((12 - left, 10 - top), TEXT, font=font, fill=(20, 20, 60))
image.quantize(32).save(pathlib.Path(__file__).with_name("line.png"), optimize=True)
