"""Tables of right and wrong answers: a gold answer ~ the content of a box ~ that of another box ..."""

RIGHT = r"""
-1 ~ e^{i\pi}
42 ~ 42.
\frac12 ~ 0.5
1/2 ~ \frac12
0.5 ~ 1/2 ~ 0.50 ~ 50\%
.5 ~ 0.5
1,000 ~ 1000
1000 ~ 1,000 ~ 1{,}000
1000000 ~ 1,000,000
50\% ~ 50\% ~ 0.5 ~ 50
50 ~ 50\%
3 ~ x=3
x=3 ~ 3 ~ x = 3
(-\infty,3] ~ (-\infty, 3]
[0,1) ~ [0,1)
\text{Evelyn} ~ \text{Evelyn} ~ Evelyn
\text{(C)} ~ C ~ \text{(C)}
\text{even} ~ \text{even}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \begin{pmatrix} 1 & 2 \\ 3 & 4 \end{pmatrix}
\begin{pmatrix} -1/3 \\ 2/3 \end{pmatrix} ~ \begin{pmatrix} -\frac{1}{3} \\ \frac23 \end{pmatrix}
5 ~ \$5 ~ 5 \text{ apples} ~ 5 apples ~ 5 \text{ dollars} ~ 5\\ ~ \,5
\$5 ~ 5 ~ \$5.00
18.90 ~ \$18.90
90^\circ ~ 90 ~ 90^{\circ}
90 ~ 90^\circ ~ 90°
2\frac{1}{2} ~ 2.5
2.5 ~ 2\frac12
\frac52 ~ 2\frac12
3.14 ~ 3.14 ~ 3.140
\{1,2,3\} ~ \{3,2,1\}
1,2 ~ 2,1 ~ 2, 1 ~ x=1,2 ~ x=1, x=2
1,-2 ~ -2 \text{ and } 1
(1,2) ~ (1,2) ~ \left(1, 2\right)
(3, \frac{\pi}{2}) ~ \left( 3, \frac{\pi}{2} \right)
x^2+1 ~ 1+x^2
(x+1)^2 ~ x^2+2x+1
\sqrt{8} ~ 2\sqrt{2}
2\sqrt3 ~ 2\sqrt{3}
2√3 ~ 2\sqrt{3} ~ \sqrt{12}
2\sqrt{3} ~ 2√3
\pi ~ π
2\pi ~ 2π
\frac{\sqrt{3}}{3} ~ \frac{1}{\sqrt{3}}
\frac{\pi}{2} ~ \pi/2
1e-7 ~ 0.0000001 ~ 10^{-7} ~ 1 \times 10^{-7}
0.0000001 ~ 1e-7
2.5e6 ~ 2500000
2500000 ~ 2.5e6 ~ 2.5 \times 10^6
101_2 ~ 101_2 ~ 101_{2}
2516_8 ~ 2516
2516_{8} ~ 2516_8
12 ~ 12_{10} ~ 12
25 \text{ cm}^2 ~ 25 \text{ cm}^2 ~ 25 ~ 25\text{ cm}^{2}
25 ~ 25 \text{ cm}^2
5 \text{ km} ~ 5\,\mathrm{km} ~ 5 km
5 \text{ kilometers} ~ 5 \text{ km}
5 \text{ apples} ~ 5
120 ~ 120 \text{ km/h}
\frac{14}{3} ~ 14/3
-\frac{1}{3} ~ \frac{-1}{3}
-\frac13 ~ -1/3
2^{10} ~ 1024
1024 ~ 2^{10}
5! ~ 120
\binom{5}{2} ~ 10
11\sqrt2 ~ 11\sqrt{2}
6 - 5i ~ 6-5i
i ~ \sqrt{-1}
y = 2x+1 ~ y=2x+1
y=2x+1 ~ 2x+1
x \le 3 ~ 3 \ge x
1 < x < 2 ~ (1,2)
\infty ~ \infty
x\in[1,2] ~ [1,2]
(1,2)\cup(3,4) ~ (1,2) \cup (3,4)
0 ~ 0
-5 ~ -5 ~ −5
3\cdot 10^8 ~ 3 \times 10^8
\log_2 8 ~ 3
2:3 ~ 2:3
10:30 ~ 10:30
1267650600228229401496703205376 ~ 1267650600228229401496703205376
9007199254740993 ~ 9007199254740993
10 ~ 10\text{ cents}
\dfrac{3}{4} ~ \tfrac34
0.75 ~ \dfrac{3}{4}
3/4 ~ 0.75
x=1,x=2 ~ 1,2
5 cm² ~ 5 cm^2
5 square units ~ 5
50.5\% ~ 0.505
x<0.5 ~ x<\frac12
[0.5,1] ~ [\frac12,1]
(0.5,0.2) ~ (\frac12,\frac15)
0.5,0.2 ~ 0.2,0.5
\begin{pmatrix}0.5\\1\end{pmatrix} ~ \begin{pmatrix}\frac12\\1\end{pmatrix}
x=0.5 ~ x=\frac12
0.5x ~ \frac{x}{2}
0.\overline{3} ~ \frac13
0.1\overline{6} ~ \frac16
i^2 ~ -1
\sum_{i=1}^{3} i ~ 6
i<5 ~ i<5
\cos\theta+i\sin\theta ~ e^{i\theta}
(1,2),(3,4) ~ (3,4),(1,2)
東京 ~ 東京
12 \text{ inches} ~ 12 \text{ in}
5 \text{ hours} ~ 5 \text{ hrs}
10,000.5 ~ 10000.5
2(x+1) ~ 2x+2
101_{\text{two}} ~ 101_2
5 \text{ ms} ~ 5 \text{ milliseconds}
12 \text{ sq. ft} ~ 12 \text{ ft}^2 ~ 12 \text{ square feet}
\frac{3}{4}\text{ mile} ~ 0.75 \text{ miles}
"""
WRONG = r"""
\frac13 ~ 0.333333 ~ 0.3333333
1/3 ~ 0.3333 ~ 0.33333333333333333333
\frac23 ~ 0.666667
\frac17 ~ 0.142857
\pi ~ 3.141593
\sqrt2 ~ 1.414214
0.333333 ~ \frac13
5 \text{ m} ~ 5 \text{ km}
5 \text{ km} ~ 5 \text{ m}
5\text{ cm}^2 ~ 5\text{ cm} ~ 5\text{ cm}^3
5 m ~ 5 km
5 \text{ kg} ~ 5 \text{ g}
5 \text{ hours} ~ 5 \text{ minutes}
5 \text{ meters} ~ 5\text{ feet}
5 \mathrm{cm}^2 ~ 5 \mathrm{cm}
\{1,2\} ~ (1,2) ~ [1,2] ~ \{1,2,3\} ~ \left(1,2\right)
1,2 ~ (1,2) ~ 1 ~ 2
(1,2) ~ \{1,2\} ~ (2,1) ~ [1,2]
[1,2] ~ (1,2)
[1,2) ~ [1,2]
2 ~ 1,2 ~ 2√3 ~ 2∛3 ~ 2π ~ \pm 2
\{2\} ~ \{1,2\}
1,2,3 ~ (1,2,3)
\{1,2,3\} ~ (1,2,3)
101_3 ~ 101_2
12 ~ 12_8
101_2 ~ 101_{3}
1010 ~ 1010_2
12_8 ~ 12_7 ~ 12_{10}
2516_8 ~ 2516_{9}
A1_{16} ~ A1_{12} ~ 1A_{16}
101_{2} ~ (101)_3
101_{\text{two}} ~ 101_{\text{three}}
2e-7 ~ 1e-7
1e-7 ~ 2e-7 ~ 0
0.0000002 ~ 0.0000001
0 ~ 1e-7
10^{-20} ~ 2\cdot10^{-20}
1e-20 ~ 2e-20
0.00000001 ~ 0
\frac{1}{10^8} ~ 0
10^{-30} ~ 0
2\sqrt3 ~ 2
2√3 ~ 2 ~ 3
2\sqrt{3} ~ 2
3 ~ 2√3 ~ 1+2=4
2∛3 ~ 2
2π ~ 2
x² ~ x
x ~ x² ~ y
5² ~ 5
42 ~ 43 ~ -42 ~ 42x ~ 4.2 ~ 420
1000 ~ 1,0000
1,000 ~ 1
1.000 ~ 1000
\frac12 ~ \frac13 ~ 2
x^2+1 ~ x^2-1
x^2 ~ 2x
x=3 ~ y=3 ~ x=4
x<3 ~ x>3 ~ x\le 3
50\% ~ 0.05 ~ 5\%
\text{Evelyn} ~ Carla
\text{even} ~ \text{odd}
\text{(C)} ~ D ~ \text{(A)}
\begin{pmatrix}1&2\\3&4\end{pmatrix} ~ \begin{pmatrix}1&3\\2&4\end{pmatrix}
90^\circ ~ 45^\circ
\sqrt{2} ~ 2 ~ -\sqrt2
\pm 2 ~ 2
e ~ 2.718282
i ~ -i
6-5i ~ 6+5i
2^{10} ~ 2^{11}
10:30 ~ 10:31
2:3 ~ 3:2
9007199254740993 ~ 9007199254740992
1267650600228229401496703205376 ~ 1.27e30
\infty ~ -\infty
3.14 ~ \pi ~ 3.1416
2\frac12 ~ 1
\log_2 8 ~ 8
-5 ~ 5
f(x)=x+1 ~ x+2
(1,2)\cup(3,4) ~ (1,2)
100 ~ 100!
0.1 ~ 0.10000001
1 ~ 0.9999999
7 ~ 7 or 8 ~ 6,7
(0.5,0.2) ~ (0.2,0.5)
\begin{pmatrix}0.333333\\1\end{pmatrix} ~ \begin{pmatrix}\frac13\\1\end{pmatrix}
\{0.333333\} ~ \{\frac13\}
x=0.333333 ~ x=\frac13
5 cm² ~ 5 cm
5 \text{ cents} ~ 5 \text{ dollars}
東京 ~ 大阪
0.\overline{3} ~ 0.3
5 \text{ m} ~ 5 \text{ ms} ~ 5 \text{ m}^2
\frac{3}{4}\text{ mile} ~ \frac{3}{4}\text{ km}
12 \text{ square feet} ~ 12 \text{ feet} ~ 12 \text{ cubic feet}
"""
# math-verify's own rules, which the module's docstring names
LEFT_RIGHT = r"""
0.5 ~ 50\%
50 ~ 50\%
(1,2) ~ 1,2
5 ~ 5 \text{ km}
2:3 ~ 2/3
90 ~ 90^\circ
"""
LEFT_WRONG = r"""
2g + 3h ~ 3h + 2g
\frac12 ~ \sin 30^\circ
True ~ true
(1,2) ~ 1<x<2
"""
