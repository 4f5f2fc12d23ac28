/** Our own small set of emoji with their shortcodes. Owns: the table. Never does: cover Unicode (any emoji can be typed). */

export type Emoji = { name: string; emoji: string };

const GROUPS: readonly (readonly [string, string])[] = [
  [
    'Smileys',
    'grinning:😀 smiley:😃 smile:😄 grin:😁 laughing:😆 sweat_smile:😅 joy:😂 rofl:🤣 slightly_smiling:🙂 upside_down:🙃 wink:😉 blush:😊 ' +
      'innocent:😇 heart_eyes:😍 star_struck:🤩 kissing_heart:😘 yum:😋 stuck_out_tongue:😛 zany:🤪 hugs:🤗 shushing:🤫 thinking:🤔 ' +
      'zipper_mouth:🤐 raised_eyebrow:🤨 neutral:😐 expressionless:😑 smirk:😏 unamused:😒 roll_eyes:🙄 grimacing:😬 relieved:😌 ' +
      'pensive:😔 sleeping:😴 mask:😷 nauseated:🤢 exploding_head:🤯 partying:🥳 sunglasses:😎 nerd:🤓 confused:😕 worried:😟 ' +
      'open_mouth:😮 astonished:😲 flushed:😳 pleading:🥺 cry:😢 sob:😭 scream:😱 disappointed:😞 sweat:😓 tired:😫 yawning:🥱 triumph:😤 ' +
      'angry:😠 rage:😡 skull:💀 poop:💩 ghost:👻 robot:🤖 melting:🫠 salute:🫡',
  ],
  [
    'Hands and people',
    'wave:👋 raised_hand:✋ ok_hand:👌 pinched:🤌 victory:✌️ crossed_fingers:🤞 love_you:🤟 metal:🤘 call_me:🤙 point_left:👈 ' +
      'point_right:👉 point_up:👆 point_down:👇 thumbsup:👍 thumbsdown:👎 fist:✊ punch:👊 clap:👏 raised_hands:🙌 heart_hands:🫶 pray:🙏 ' +
      'handshake:🤝 writing:✍️ muscle:💪 eyes:👀 brain:🧠 facepalm:🤦 shrug:🤷 technologist:🧑‍💻 running:🏃 dancer:💃',
  ],
  [
    'Hearts and signs',
    'heart:❤️ orange_heart:🧡 yellow_heart:💛 green_heart:💚 blue_heart:💙 purple_heart:💜 black_heart:🖤 white_heart:🤍 ' +
      'broken_heart:💔 sparkling_heart:💖 100:💯 boom:💥 dash:💨 zzz:💤 fire:🔥 sparkles:✨ star:⭐ check:✅ x:❌ warning:⚠️ question:❓ ' +
      'exclamation:❗ plus:➕ arrow_right:➡️ recycle:♻️ infinity:♾️',
  ],
  [
    'Nature',
    'dog:🐶 cat:🐱 mouse:🐭 fox:🦊 bear:🐻 panda:🐼 lion:🦁 frog:🐸 monkey:🐒 penguin:🐧 bird:🐦 owl:🦉 unicorn:🦄 bee:🐝 bug:🐛 butterfly:🦋 ' +
      'snail:🐌 turtle:🐢 octopus:🐙 crab:🦀 whale:🐳 dolphin:🐬 cactus:🌵 tree:🌳 seedling:🌱 clover:🍀 rose:🌹 sunflower:🌻 sun:☀️ ' +
      'cloud:☁️ rain:🌧️ snow:❄️ rainbow:🌈 moon:🌙 earth:🌍 ocean:🌊',
  ],
  [
    'Food',
    'apple:🍎 banana:🍌 strawberry:🍓 avocado:🥑 bread:🍞 cheese:🧀 pizza:🍕 burger:🍔 fries:🍟 taco:🌮 sushi:🍣 ramen:🍜 salad:🥗 ' +
      'popcorn:🍿 cake:🍰 birthday:🎂 cookie:🍪 chocolate:🍫 icecream:🍦 coffee:☕ tea:🍵 beer:🍺 cheers:🍻 wine:🍷 champagne:🍾',
  ],
  [
    'Things and places',
    'tada:🎉 confetti:🎊 balloon:🎈 gift:🎁 trophy:🏆 medal:🏅 soccer:⚽ basketball:🏀 chess:♟️ dart:🎯 game:🎮 guitar:🎸 music:🎵 ' +
      'headphones:🎧 art:🎨 camera:📷 movie:🎬 bulb:💡 book:📖 books:📚 memo:📝 pencil:✏️ pushpin:📌 paperclip:📎 calendar:📅 chart:📈 ' +
      'mail:📧 phone:📱 laptop:💻 keyboard:⌨️ lock:🔒 key:🔑 hammer:🔨 wrench:🔧 gear:⚙️ link:🔗 package:📦 rocket:🚀 airplane:✈️ train:🚆 ' +
      'car:🚗 bike:🚲 house:🏠 office:🏢 tent:⛺ clock:🕒 hourglass:⏳ bell:🔔 moneybag:💰 gem:💎 crystal_ball:🔮',
  ],
];

export const EMOJI_GROUPS: readonly { title: string; emoji: readonly Emoji[] }[] = GROUPS.map(
  ([title, table]) => ({
    title,
    emoji: table.split(' ').map((pair) => {
      const colon = pair.indexOf(':');
      return { name: pair.slice(0, colon), emoji: pair.slice(colon + 1) };
    }),
  }),
);

const BY_NAME = new Map(
  EMOJI_GROUPS.flatMap((group) => group.emoji.map((one) => [one.name, one.emoji] as const)),
);
/** Other names people type. */
for (const [alias, name] of [
  ['+1', 'thumbsup'],
  ['-1', 'thumbsdown'],
  ['lol', 'joy'],
  ['party', 'tada'],
  ['hug', 'hugs'],
  ['ok', 'ok_hand'],
] as const) {
  const emoji = BY_NAME.get(name);
  if (emoji) BY_NAME.set(alias, emoji);
}

/** The emoji of a shortcode without its colons. */
export function emojiOf(name: string): string | undefined {
  return BY_NAME.get(name);
}

/** Up to `limit` whose name has the text in it, those that begin with it first. */
export function findEmoji(text: string, limit: number): Emoji[] {
  const needle = text.toLowerCase();
  const found = [...BY_NAME]
    .filter(([name]) => name.includes(needle))
    .map(([name, emoji]) => ({ name, emoji }));
  return found
    .sort(
      (a, b) =>
        Number(b.name.startsWith(needle)) - Number(a.name.startsWith(needle)) ||
        a.name.length - b.name.length,
    )
    .slice(0, limit);
}

/** Offered first for a reaction. */
export const QUICK_REACTIONS: readonly string[] = ['👍', '❤️', '😂', '🎉', '😮', '😢'];
