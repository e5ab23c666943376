// Opens a study in OHIF and says, as JSON on standard output, what a reader sees of each series.
// Arguments: viewer's port, Study Instance UID, folder for the pictures, then series descriptions.
const { chromium } = require(process.env.OHIF_CACHE + '/node_modules/playwright-core');
const [port, study, folder, ...descriptions] = process.argv.slice(2);
const FLAGS = [
  '--no-sandbox',
  '--use-gl=angle',
  '--use-angle=swiftshader-webgl',
  '--enable-unsafe-swiftshader',
  '--ignore-gpu-blocklist',
  '--disable-background-networking',
  '--disable-component-update',
  '--no-first-run',
];

// What is drawn: labels, lines as their boxes in page pixels, the text, and the box of the picture itself.
function seen() {
  const box = element => {
    const { left, top, right, bottom } = element.getBoundingClientRect();
    return [left, top, right, bottom];
  };
  const layers = [...document.querySelectorAll('.viewport-element svg, svg.svg-layer')];
  const drawn = name => [...new Set(layers.flatMap(layer => [...layer.querySelectorAll(name)]))];
  const grid = document.querySelector('[data-cy="viewport-grid"]');
  return {
    labels: [...document.querySelectorAll('svg text')].flatMap(text => {
      const parts = [...text.querySelectorAll('tspan')].map(part => part.textContent);
      return parts.length ? parts : [text.textContent];
    }),
    lines: [...drawn('path'), ...drawn('polyline'), ...drawn('line')].map(box),
    canvases: [...document.querySelectorAll('.viewport-element canvas')].map(box),
    text: grid ? grid.innerText : '',
  };
}

(async () => {
  const browser = await chromium.launch({
    executablePath: process.env.CHROMIUM || '/usr/bin/chromium',
    headless: true,
    args: FLAGS,
  });
  const page = await browser.newPage({ viewport: { width: 1600, height: 950 } });
  const errors = [];
  page.on('pageerror', error => errors.push(String(error).slice(0, 200)));
  await page.goto(`http://127.0.0.1:${port}/viewer?StudyInstanceUIDs=${study}`, {
    waitUntil: 'domcontentloaded',
  });
  const thumbnails = page.locator('[data-cy^="study-browser-thumbnail"]');
  await thumbnails.first().waitFor({ timeout: 90000 });
  await page.locator('.viewport-element canvas').first().waitFor({ timeout: 60000 });
  await page.waitForTimeout(6000);
  const skip = page.getByText('Skip all');
  if (await skip.count()) await skip.first().click();
  const result = { opened: await page.evaluate(seen), series: {} };
  await page.screenshot({ path: `${folder}/opened.png` });
  result.thumbnails = (await thumbnails.allInnerTexts()).map(text => text.replace(/\s+/g, ' ').trim());
  for (const description of descriptions) {
    const own = thumbnails.filter({ hasText: description }).first();
    await own.waitFor({ timeout: 30000 });
    const before = JSON.stringify(await page.evaluate(seen));
    await own.dblclick();
    let now = {};
    for (let second = 0; second < 40; second++) {
      await page.waitForTimeout(1000);
      now = await page.evaluate(seen);
      if (JSON.stringify(now) !== before && (now.labels.length > 1 || /Observer Type/.test(now.text))) break;
      if (second % 8 === 7) {
        // OHIF sometimes draws only at the next redraw.
        await page.mouse.move(900, 500);
        for (const step of [100, -100]) {
          await page.mouse.wheel(0, step);
          await page.waitForTimeout(700);
        }
      }
    }
    await page.waitForTimeout(1500);
    const own_name = description.replace(/\W+/g, '-');
    result.series[description] = await page.evaluate(seen);
    await page.screenshot({ path: `${folder}/${own_name}.png` });
    // "Do you want to continue tracking measurements for this study?"
    const yes = page.locator('[data-cy="viewport-grid"]').getByText('Yes', { exact: true });
    if (await yes.count()) {
      await yes.first().click();
      await page.waitForTimeout(6000);
      result.series[description].taken = await page.evaluate(seen);
      await page.screenshot({ path: `${folder}/${own_name}-taken.png` });
    }
  }
  result.errors = [...new Set(errors)];
  await browser.close();
  console.log(JSON.stringify(result));
})().catch(error => {
  console.error(String(error));
  process.exit(1);
});
